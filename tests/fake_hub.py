"""A hub on this machine: the few answers that huggingface_hub asks for, and a cut connection on demand."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

COMMIT = "c0ffee" + "0" * 34


class FakeHub:
    """Serves repositories from memory; `requests` lists what was asked.

    `cut_after` bytes of a file the connection ends, once.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut_after: int | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlparse(request.path).path)
        self.requests.append((request.command, path, request.headers.get("Range")))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            files = self.repositories.get("/".join(parts[2:4]))
            self._send_json(request, files, tree="tree" in parts)
        elif files := self.repositories.get("/".join(parts[:2])):
            self._send_file(request, files.get("/".join(parts[4:])))
        else:
            self._send_json(request, None)

    def _send_json(self, request, files, tree=False) -> None:
        if files is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "RepoNotFound")
            body = b'{"error": "Repository not found"}'
        else:
            request.send_response(200)
            rows = [
                {"type": "file", "path": name, "rfilename": name, "size": len(content), "oid": etag(content)}
                for name, content in files.items()
            ]
            body = json.dumps(rows if tree else {"id": "x/y", "sha": COMMIT, "siblings": rows}).encode()
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    def _send_file(self, request, content: bytes | None) -> None:
        if content is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = content[start:]
        request.send_response(206 if start else 200)
        request.send_header("ETag", f'"{etag(content)}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", str(len(body)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if request.command == "GET":
            if self.cut_after is not None and len(body) > self.cut_after:
                body, self.cut_after = body[: self.cut_after], None
            request.wfile.write(body)
        request.close_connection = True


def etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
