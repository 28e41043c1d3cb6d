"""Says what h11, a strict parser of HTTP/1.1 that is not ours, reads out of bytes: for tests/differential_h11.rs.

Arguments: the folder that h11 is installed in. Standard input: inputs, each behind its length as four bytes, the
highest first. Standard output: a line of JSON for each,
{"requests": [[method, target, [[name, value]…], body]…], "refused": null or h11's words, "closes": bool}, in which
a character stands for a byte.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])
import h11  # noqa: E402

# Beyond what is sent here: h11 must judge by its rules, not by a limit.
HEAD_BYTES_MAX = 1 << 20


def text(data):
    return bytes(data).decode("latin-1")


def read(data):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
    connection.receive_data(data)
    requests, head, body = [], None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return {"requests": requests, "refused": f"{error} ({error.error_status_hint})", "closes": True}
        match event:
            case h11.Request():
                fields = [[text(name), text(value)] for name, value in event.headers]
                head, body = [text(event.method), text(event.target), fields], b""
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                requests.append([*head, text(body)])
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return {"requests": requests, "refused": None, "closes": True}
                connection.start_next_cycle()
            case h11.NEED_DATA:
                return {"requests": requests, "refused": None, "closes": False}
            case other:
                raise AssertionError(f"h11 says {other!r} to {data!r}")


def main():
    source, out = sys.stdin.buffer, sys.stdout
    while length := source.read(4):
        data = source.read(int.from_bytes(length, "big"))
        out.write(json.dumps(read(data)) + "\n")


if __name__ == "__main__":
    main()
