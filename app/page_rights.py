"""PageRights: tells the page's handlers whether they may change galleries and measure engines."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

_STATE = "page_may_change_galleries"


class PageRights:
    """ASGI middleware that notes in each request what the page may do.

    API keys guard the REST routes and a password the page. So where there are keys and no password, the page
    and its endpoints must not do what needs a key elsewhere, nor what keeps the machine busy for minutes.
    """

    def __init__(self, app: ASGIApp, *, may_change: bool) -> None:
        self._app = app
        self._may_change = may_change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        scope.setdefault("state", {})[_STATE] = self._may_change
        await self._app(scope, receive, send)


def page_may_change(request: HTTPConnection | None) -> bool:
    """Tell whether the page may do that: not for a request that has not passed `PageRights`."""
    return request is not None and bool(request.scope.get("state", {}).get(_STATE, False))
