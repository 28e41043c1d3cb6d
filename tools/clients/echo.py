"""A program behind a webhook, with Python's http.server: answers what it got as JSON, with the status 207.

Prints its port, and ends when its standard input does.
"""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        told = {
            "program": "python",
            "method": self.command,
            "path": self.path,
            "type": self.headers.get("content-type"),
            "mark": self.headers.get("x-mark"),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        text = json.dumps(told).encode()
        self.send_response(207)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Program", "python")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
