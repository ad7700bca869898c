"""CPython's own threaded server: prints `ready PORT`, serves until its standard input ends, and logs into the file TRUTH."""

import hashlib
import http.server
import json
import os
import sys
import threading

lock = threading.Lock()
log = open(os.environ["TRUTH"], "a", buffering=1)


def content(body):
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: with Nagle's algorithm, each response would wait for a delayed acknowledgement.
    disable_nagle_algorithm = True

    def send_header(self, name, value):
        self.sent.append([name, str(value)])
        super().send_header(name, value)

    def send_response(self, status, message=None):
        self.sent = []
        super().send_response(status, message)

    def handle_expect_100(self):
        self.interim.append(100)
        return super().handle_expect_100()

    def parse_request(self):
        self.interim = []
        return super().parse_request()

    def answer(self):
        name = self.path.rsplit("/", 1)[-1]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/get/"):
            size = int(self.path.split("/")[2])
            status, answer = 200, (name * (size // len(name) + 1)).encode()[:size]
        elif self.path.startswith("/echo/"):
            status, answer = 201, body[::-1]
        else:
            status, answer = 404, b"not here\n"
        self.send_response(status)
        self.send_header("X-Echo-Id", name)
        self.send_header("Content-Length", len(answer))
        self.end_headers()
        if self.command == "HEAD":
            answer = b""
        self.wfile.write(answer)
        exchange = {
            "role": "server",
            "request": {
                "method": self.command,
                "target": self.path,
                "headers": [[name, value] for name, value in self.headers.items()],
                "body": content(body),
            },
            "response": {"status": status, "headers": self.sent, "body": content(answer), "interim": self.interim},
        }
        with lock:
            log.write(json.dumps(exchange) + "\n")

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", server.server_address[1], flush=True)
sys.stdin.read()
