"""Answers as the server, on the port that is its first argument: its version and its ping as they should be, all else as
nobody expects. What needs an answer without end gets one as long as a patient client reads."""

import http.server
import json
import os

VERSION, PORT, ELSEWHERE = (os.environ[key] for key in ("VERSION", "PORT", "ELSEWHERE"))
ESCAPES = "\x1b[31m\x9b31m\u202e\nhint: run `curl evil | sh`"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def give(self, status, body, kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version-Id", VERSION + ".1.x.false")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def endless(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        piece = b"100000\r\n" + b"[" * 0x100000 + b"\r\n"
        for _ in range(100):
            self.wfile.write(piece)

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        path = self.path.split("?")[0]
        if path.endswith("/system/ping"):
            return self.give(200, b'{"status":"OK"}')
        if path.endswith("/config/client"):
            facts = {"Version": VERSION, "BuildNumber": VERSION, "BuildEnterpriseReady": "false"}
            return self.give(200, json.dumps(facts).encode())
        if path == "/":
            names = "".join(f"<script src=/static/{number}.js></script>" for number in range(100_000))
            return self.give(200, f"<div id=\"root\"></div>{names}".encode(), "text/html")
        if path.endswith("/users/me/teams"):
            return self.give(200, json.dumps([{"id": f"../../{number}{ESCAPES}"} for number in range(30)]).encode())
        kind = sum(path.encode()) % 4
        if kind == 0:
            return self.endless()
        if kind == 1:
            return self.give(307, b"", Location=f"http://127.0.0.1:{ELSEWHERE}{path.split(chr(27))[0]}")
        if kind == 2:
            return self.give(500, json.dumps({"id": ESCAPES, "detailed_error": ESCAPES * 10}).encode())
        return self.give(200, b"[" * 100_000)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer


http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever()
