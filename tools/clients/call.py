"""Calls a webhook whose calls `tidegate listen` brings to a program, with Python's http.client.

Arguments: the URL, and the name that the program answers with. What the program got must be what was sent.
"""

import hashlib
import http.client
import json
import sys
from urllib.parse import urlsplit

url, program = urlsplit(sys.argv[1]), sys.argv[2]
CALLS = [
    ("POST", "", "application/json", b' {"n": 1.10,\n "s": "\xc3\xbc"} '),
    ("PUT", "/up/there?a=1&a=2&b=x%20y", "application/x-www-form-urlencoded", b"text=%3Cb%3E&token=xyz&empty="),
    ("PATCH", "/b", "application/octet-stream", bytes(range(256))),
    ("POST", "", "multipart/form-data; boundary=q", b'--q\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n\xff\x00\r\n--q--\r\n'),
    ("DELETE", "/gone", "text/plain", b"bye"),
    ("GET", "/look?q=%C3%BC", None, b""),
]
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
for number, (method, more, kind, body) in enumerate(CALLS):
    headers = {"X-Mark": f"call {number}"}
    if kind:
        headers["Content-Type"] = kind
    connection.request(method, url.path + more, body or None, headers)
    response = connection.getresponse()
    told = json.loads(response.read())
    path = more if more.startswith("/") else "/" + more
    expected = {
        "program": program,
        "method": method,
        "path": "/base" + ("" if path == "/" else path),
        "type": kind,
        "mark": f"call {number}",
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert told == expected, f"{told} is not {expected}"
    assert response.status == 207, response.status
    assert response.headers["X-Program"] == program, response.headers
print("done")
