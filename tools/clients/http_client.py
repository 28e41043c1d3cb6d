"""Python's http.client against a webhook: bodies of many sizes, with and without keep-alive, declared and chunked.

Arguments: the URL of a webhook that answers at once, and of one that answers 201 {"reply":true}. Exit code 0: all
was as it should be.
"""

import http.client
import sys
from urllib.parse import urlsplit

LIMIT = 262_144
SIZES = [0, 1, 1000, 65_536, 262_143, 262_144, 262_145]
SUCCESS = b'{"success":true}'
TOO_LARGE = b'{"error":"Content too large"}'
SECONDS_MAX = 20


def exchange(connection, method, target, body=None, headers=None):
    """One request; gives back status, body and whether the server closes."""
    connection.request(method, target, body=body, headers=headers or {}, encode_chunked=True)
    response = connection.getresponse()
    return response.status, response.read(), response.will_close


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: expected {wanted}, got {got}")


def outcome(size):
    return (200, SUCCESS, False) if size <= LIMIT else (413, TOO_LARGE, True)


def parts(body):
    """The body as http.client sends it chunked."""
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


def main():
    quick, replying = (urlsplit(url) for url in sys.argv[1:3])
    connect = lambda: http.client.HTTPConnection(quick.netloc, timeout=SECONDS_MAX)
    chunked = {"Transfer-Encoding": "chunked"}

    kept = connect()
    for size in SIZES:
        body = b"x" * size
        expect(f"kept, {size} bytes", exchange(kept, "POST", quick.path, body), outcome(size))
        expect(f"kept, {size} bytes chunked", exchange(kept, "PUT", quick.path, parts(body), chunked), outcome(size))
        alone = connect()
        status, text, closes = exchange(alone, "POST", quick.path, body, {"Connection": "close"})
        expect(f"alone, {size} bytes", (status, text, closes), (*outcome(size)[:2], True))
        alone.close()

    for method in ["GET", "DELETE", "PATCH", "PUT", "POST"]:
        expect(method, exchange(kept, method, quick.path), (200, SUCCESS, False))
    expect("HEAD", exchange(kept, "HEAD", quick.path), (200, b"", False))
    status, text, closes = exchange(kept, "OPTIONS", quick.path)
    expect("OPTIONS", (status, text, closes), (204, b"", False))
    for size in SIZES[:-1]:
        got = exchange(kept, "POST", replying.path, b"x" * size)
        expect(f"reply, {size} bytes", got, (201, b'{"reply":true}', False))
    print("http.client: all as it should be")


main()
