"""A real HTTP server that gives the answers it is told to, at the paths of the REST interface."""

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are sent apart

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer()

    def _answer(self):
        self.server.keys.add(self.headers["Authorization"])
        status, body = self.server.answers.get(self.path, (404, b"{}"))
        if status is None:
            assert self.server.released.wait(30)
            status = 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError):  # a client that would not wait
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(**answers):
    """Serve (status, body) of classify, embeddings, models and metrics; yield the server and its address.

    A status of None holds the answer back until the end.
    """
    paths = {"classify": "/v1/classify", "embeddings": "/v1/embeddings", "models": "/v1/models"}
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.answers = {paths.get(name, f"/{name}"): answer for name, answer in answers.items()}
    http.bodies, http.keys, http.released = [], set(), threading.Event()
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield http, f"http://127.0.0.1:{http.server_port}"
    finally:
        http.released.set()
        http.shutdown()
        http.server_close()
        thread.join()
