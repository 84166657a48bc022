"""RequestRights: tells which of the server's rights a request has, by where it comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import get_args
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.settings import Right

RIGHTS: frozenset[Right] = frozenset(get_args(Right))
_STATE, _PAGE_STATE = "rights", "page_rights"
_OF_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


class RequestRights:
    """ASGI middleware that notes in each request what it may do, where the settings allow it at all.

    A server that listens on this machine only trusts whoever reaches it, and a proxy before it, or a page of
    another site whose name leads to this machine, would let strangers in: such requests lose what the server
    allows for that reason alone. And API keys guard the REST routes, a password the page. So where there are
    keys and no password, the page must not do what needs a key elsewhere.
    """

    def __init__(self, app: ASGIApp, *, local_only: Collection[Right], page_may_change: bool) -> None:
        """Wrap an app.

        Args:
            app: what handles the requests.
            local_only: the rights of requests from this machine alone.
            page_may_change: whether the page has rights at all.
        """
        self._app = app
        self._elsewhere = RIGHTS - frozenset(local_only)
        self._page_may_change = page_may_change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        if scope["type"] != "lifespan":
            rights = RIGHTS if is_from_here(scope) else self._elsewhere
            page_rights = rights if self._page_may_change else frozenset()
            scope.setdefault("state", {}).update({_STATE: rights, _PAGE_STATE: page_rights})
        await self._app(scope, receive, send)


def may(request: HTTPConnection, right: Right) -> bool:
    """Tell whether a REST request has a right: not one that has not passed `RequestRights`."""
    return right in request.scope.get("state", {}).get(_STATE, ())


def page_may(request: HTTPConnection | None, right: Right) -> bool:
    """Tell the same of an event of the page."""
    return request is not None and right in request.scope.get("state", {}).get(_PAGE_STATE, ())


def is_from_here(scope: Scope) -> bool:
    """Tell whether a program of this machine asks this machine by its own name, through no known proxy."""
    headers = Headers(scope=scope)
    client = scope.get("client")
    return (
        client is not None
        and _is_loopback(client[0])
        and _is_loopback(_host(headers.get("host", "")))
        and not any(name in headers for name in _OF_PROXIES)
    )


def _host(header: str) -> str:
    """Return a Host header's name, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
