"""The access log: an id for every request, and a line of JSON about it when it ends."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import error_response
from app.api.middleware.paths import route_path

logger = logging.getLogger("siglip.access")

CLIENT_CLOSED_REQUEST = 499  # nginx's number for a client that left before it was answered
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class AccessLog:
    """Give each request an id, as header and in `scope["state"]["request_id"]`, and log how it ended.

    The line holds no header, no query string and no body: whatever is secret is in one of these.
    """

    def __init__(self, app: ASGIApp, count: Callable[[str, int], None] | None = None):
        """Wrap `app`; `count` is told the path and status of each answer."""
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app and log the request, however it ends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(scope, request_id, receive, send)
        try:
            await self._app(scope, exchange.receive, exchange.send)
            if exchange.status is None and not exchange.client_left:
                exchange.status = 500  # the server says so to a client whom the app never answered
        except Exception:  # logged here, handled by the server, which also prints the traceback
            if exchange.status is None and not exchange.client_left:
                # The server's own answer would not carry the id, by which the operator finds the traceback.
                answer = error_response(500, "internal server error", code="internal_error")
                await answer(scope, receive, exchange.send)
            exchange.status = 500
            raise
        finally:  # a cancelled request counts as one that nobody waits for
            status = exchange.log()
            if self._count is not None:
                self._count(route_path(scope), status)


class _Exchange:
    """What is known about one request and its answer so far."""

    def __init__(self, scope: Scope, request_id: str, receive: Receive, send: Send):
        client = scope.get("client")
        self._facts = {  # read now, because routers change the scope
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "client": client[0] if client else None,
        }
        self._start_s = time.perf_counter()
        self._receive, self._send = receive, send
        self._bytes_in = self._bytes_out = 0
        self.status: int | None = None
        self.client_left = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        self.client_left |= message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message.setdefault("headers", [])
            MutableHeaders(scope=message)["X-Request-ID"] = self._facts["request_id"]
        self._bytes_out += len(message.get("body", b""))
        await self._send(message)

    def log(self) -> int:
        status = self.status or CLIENT_CLOSED_REQUEST
        line = {
            **self._facts,
            "status": status,
            "ms": round((time.perf_counter() - self._start_s) * 1000, 1),
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
        }
        logger.info("%s", json.dumps(line))  # escapes line ends, so that no path forges a line
        return status


def _request_id(scope: Scope) -> str:
    """Return the id that a proxy or client has given the request, if it is harmless in a log."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
