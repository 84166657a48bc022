"""The body limit: how many bytes a request may bring, whatever it says about itself."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import error_response
from app.api.middleware.paths import is_under


class _BodyTooLargeError(Exception):
    """Stops an app that reads a body beyond the limit."""


class BodyLimit:
    """Answer 413 to a body of more than `max_bytes`: by its Content-Length, else as soon as it gets there.

    The connection stays usable: the server reads and drops what is left of the body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, prefixes: Sequence[str] = ("/v1/",)):
        """Wrap `app`."""
        self._app, self._max_bytes, self._prefixes = app, max_bytes, prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, or refuse the request."""
        if scope["type"] != "http" or not is_under(scope, self._prefixes):
            await self._app(scope, receive, send)
        elif _content_length(scope) > self._max_bytes:
            await self._refusal(scope)(scope, receive, send)
        else:
            await self._run_counted(scope, receive, send)

    async def _run_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        num_bytes = 0
        started = False

        async def counted_receive() -> Message:
            nonlocal num_bytes
            message = await receive() if num_bytes <= self._max_bytes else {}
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise _BodyTooLargeError("the request body is too large")
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if num_bytes > self._max_bytes and not started:
                return  # FastAPI makes a 400 of every error while it reads a body
            started = True
            await send(message)

        try:
            await self._app(scope, counted_receive, guarded_send)
        except Exception:  # the refusal itself, however the app has wrapped it
            if started or num_bytes <= self._max_bytes:
                raise
        if num_bytes > self._max_bytes and not started:
            await self._refusal(scope)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse:
        # A client that waits for "100 Continue" may send its next request or the body after all; closing
        # ends the doubt (RFC 9110, 10.1.1). Others are in the middle of sending and would lose the answer.
        waits = "100-continue" in Headers(scope=scope).get("expect", "").lower()
        return error_response(
            413,
            f"the request body is larger than this server's limit of {self._max_bytes} bytes",
            code="body_too_large",
            headers={"Connection": "close"} if waits else {},
        )


def _content_length(scope: Scope) -> int:
    """Return what the request says of its length; 0 where it says nothing that can be read."""
    value = Headers(scope=scope).get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else 0
