"""Small ASGI apps in tests: called by httpx, by hand message for message, or behind a real server."""

import asyncio
import contextlib
import socket
import threading
import time

import httpx
import uvicorn


def client(app, *, address="203.0.113.7", root_path="", raises=False):
    transport = httpx.ASGITransport(
        app, raise_app_exceptions=raises, client=(address, 1234), root_path=root_path
    )
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@contextlib.contextmanager
def serving(app):
    """Run uvicorn with the app in a thread; yield its address."""
    # With socket.create_server's protocol 0 asyncio leaves Nagle's algorithm on: 40 ms for each answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def http_scope(path="/v1/embeddings", method="POST", headers=()):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "root_path": "",
        "client": ("203.0.113.7", 1234),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }


class Request:
    """One request, of which the test sends and receives each message; `read` counts those taken."""

    def __init__(self, app, **scope):
        self.scope = http_scope(**scope)
        self.sent = []
        self.read = 0
        self._messages = asyncio.Queue()
        self.task = asyncio.ensure_future(app(self.scope, self._receive, self._send))

    async def _receive(self):
        message = await self._messages.get()
        self.read += 1
        return message

    async def _send(self, message):
        self.sent.append(message)

    def body(self, body=b"", more=False):
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self):
        self._messages.put_nowait({"type": "http.disconnect"})

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None


async def settle():
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)
