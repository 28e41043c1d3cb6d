"""Reads forms with Python's email package: a JSON array of {contentType, body} (body in base64) on standard input, an
array of {parts} or {error} on standard output."""

import base64
import json
import sys
from email import message_from_string, utils


def text(value):
    """A parameter as text. One that RFC 2231 encodes is a triple; the others are bytes in UTF-8."""
    if value is None:
        return None
    if isinstance(value, tuple):
        return utils.collapse_rfc2231_value(value)
    return value.encode("latin-1").decode("utf-8", "replace")


def read(case):
    # A character for each byte, so that header fields and contents keep theirs.
    head = f"Content-Type: {case['contentType']}\r\n\r\n"
    message = message_from_string(head + base64.b64decode(case["body"]).decode("latin-1"))
    if not message.is_multipart():
        return {"error": "no form"}
    parts = []
    for part in message.get_payload():
        parameters = part.get_params(header="content-disposition")
        if parameters is None or parameters[0][0].lower() != "form-data":
            continue
        of = {}
        for name, value in parameters[1:]:
            of.setdefault(name.lower(), value)
        if "name" not in of:
            continue
        data = part.get_payload().encode("latin-1")
        parts.append({
            "name": text(of["name"]),
            "filename": text(of.get("filename")),
            "type": part["content-type"],
            "encoding": part["content-transfer-encoding"] or "7bit",
            "data": base64.b64encode(data).decode(),
        })
    return {"parts": parts}


json.dump([read(case) for case in json.load(sys.stdin)], sys.stdout)
