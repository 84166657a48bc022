"""API keys: who may call the guarded paths, and under which name a client is counted."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterator, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import error_response
from app.api.middleware.paths import is_under, route_path

GUARDED = ("/v1/", "/metrics", "/gradio_api/mcp")
OPEN = ("/healthz", "/readyz")
_STATE = "api_key_id"
_KEY = re.compile(r"[!-~]+")


class ApiKeys:
    """Answer 401 to requests for guarded paths that bring none of the keys; without keys let all pass.

    A key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Sequence[str],
        prefixes: Sequence[str] = GUARDED,
        open_paths: Sequence[str] = OPEN,
    ):
        """Wrap `app`; `open_paths` are exact and win over `prefixes`.

        Raises:
            ValueError: when a key is empty or holds what no header can carry.
        """
        if not all(_KEY.fullmatch(key) for key in keys):
            raise ValueError("an API key must be one word of printable ASCII characters")
        self._app = app
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._prefixes, self._open_paths = prefixes, frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, or refuse the request."""
        if not self._digests or scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        digest = self._valid_digest(scope)
        if digest is not None:
            scope.setdefault("state", {})[_STATE] = digest.hex()[:16]
        elif route_path(scope) not in self._open_paths and is_under(scope, self._prefixes):
            await _refuse(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _valid_digest(self, scope: Scope) -> bytes | None:
        """Return the digest of the key that the request brings, if it is one of ours."""
        found = None
        for given in map(_digest, _given_keys(scope)):
            for known in self._digests:  # all of them, so that the time does not tell which one is close
                if hmac.compare_digest(given, known):
                    found = known
        return found


def client_key(scope: Scope) -> str:
    """Return a stable name for the client that gives no secret away: its key's, else its address's.

    Keys count only after ApiKeys has checked them. An IPv6 address counts by its /64, which is what one
    customer of a provider gets, so that nobody has 2^64 names.
    """
    key_id = scope.get("state", {}).get(_STATE)
    if key_id:
        return f"key:{key_id}"
    host = str(scope["client"][0]) if scope.get("client") else "unknown"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return f"address:{host}"
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return f"address:{mapped or ipaddress.ip_network((address, 64), strict=False)}"
    return f"address:{address}"


def _given_keys(scope: Scope) -> Iterator[str]:
    headers = Headers(scope=scope)
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield credentials.strip()
    yield headers.get("x-api-key", "").strip()


def _digest(key: str) -> bytes:
    """Return 32 bytes for any key, so that comparing them does not tell its length."""
    return hashlib.sha256(key.encode("latin-1")).digest()


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "a valid API key is required"})
        return
    answer = error_response(
        401,
        "a valid API key is required: send Authorization: Bearer KEY, or X-API-Key: KEY",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )
    await answer(scope, receive, send)
