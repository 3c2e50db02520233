"""A small HTTP server whose page is a function: a target to scrape, a server that says no, or one that is posted to."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serving(page, *, status=200, headers=None):
    """A server that answers everything with `page()`, a new one each time; its address. By default a target to scrape."""

    class Handler(_Silent):
        def do_GET(self):
            self.rfile.read(int(self.headers.get('Content-Length', 0)))
            body = page()
            self.send_response(status)
            for name, value in {'Content-Length': str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    with _listening(Handler) as address:
        yield address


@contextmanager
def receiving(answer):
    """A server that calls `answer(path, what was posted)` and sends what that returns, both as JSON; its address."""

    class Handler(_Silent):
        def do_POST(self):
            body = answer(self.path, json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    with _listening(Handler) as address:
        yield address


class _Silent(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def _listening(handler):
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()
