"""An HTTP server that works, fails twice, or sends too little."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

BODY = b"remote bytes " * 1000


class Handler(BaseHTTPRequestHandler):
    """`/ok`; `/flaky` fails twice; `/short` promises more than it sends; everything else is 404."""

    requests: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        known = self.path in ("/ok", "/flaky", "/short")
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(BODY) + (self.path == "/short") * 10))
        self.end_headers()

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/flaky" and self.requests.count("/flaky") < 3:
            self.send_error(503)
            return
        self.do_HEAD()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass
