"""A request's scope in time: it ends with its deadline, or when its client leaves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import error_response
from app.api.middleware.exchange import Exchange
from app.api.middleware.paths import is_under

_SECONDS = re.compile(r"\d{1,9}(\.\d{0,9})?", re.ASCII)


class RequestScope:
    """Cancel a handler whose time is over, with 504 for the client, or whose client has gone.

    The header `X-Request-Timeout` asks for less time, in seconds. A response that has started is never cut
    by the deadline, only by the client.
    """

    def __init__(self, app: ASGIApp, default_timeout_s: float, prefixes: Sequence[str] = ("/v1/",)):
        """Wrap `app`; `default_timeout_s` is also the most that a client may ask for, and 0 is no limit."""
        self._app, self._prefixes = app, prefixes
        self._longest_s = default_timeout_s or math.inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app until it is done, late, or without a client."""
        if scope["type"] != "http" or not is_under(scope, self._prefixes):
            await self._app(scope, receive, send)
            return
        try:
            timeout_s = self._timeout_s(scope)
        except ValueError as error:
            answer = error_response(400, str(error), code="invalid_timeout", param="X-Request-Timeout")
            await answer(scope, receive, send)
            return
        await Exchange(scope, receive, send).run(self._app, timeout_s)

    def _timeout_s(self, scope: Scope) -> float:
        given = Headers(scope=scope).getlist("x-request-timeout")
        if not given:
            return self._longest_s
        text = ", ".join(given)  # a header that comes twice is no number
        if not _SECONDS.fullmatch(text) or float(text) == 0:
            raise ValueError("X-Request-Timeout must be a number of seconds above 0, such as 2.5")
        return min(float(text), self._longest_s)
