"""The rate limit: how many requests a client may send in any minute."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import error_response
from app.api.middleware.api_keys import client_key
from app.api.middleware.paths import is_under

_FIRST_SWEEP = 1024  # clients


class RateLimit:
    """Answer 429 to a client that has sent `per_minute` requests within the last minute; 0 is no limit.

    Refused requests do not count. Clients are told apart by `client_key`, so ApiKeys must stand outside.
    """

    def __init__(
        self,
        app: ASGIApp,
        per_minute: int,
        prefixes: Sequence[str] = ("/v1/",),
        post_prefixes: Sequence[str] = ("/gradio_api/",),
    ):
        """Wrap `app`; under `post_prefixes` only POST counts.

        In a browser a page's pictures, its heartbeat and each result are GETs: counting them would refuse
        people who do nothing but look.
        """
        self._app = app
        self._limit = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._prefixes, self._post_prefixes = prefixes, post_prefixes
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._next_sweep = _FIRST_SWEEP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, or refuse the request."""
        retry_after_s = self._count(scope) if scope["type"] == "http" else 0
        if not retry_after_s:
            await self._app(scope, receive, send)
            return
        answer = error_response(
            429,
            f"too many requests: this server takes {self._limit}; try again in {retry_after_s} s",
            code="rate_limit_exceeded",
            headers={"Retry-After": str(retry_after_s)},
        )
        await answer(scope, receive, send)

    def _count(self, scope: Scope) -> int:
        """Count the request; return 0, or the seconds until the client may send one again."""
        if self._limit is None or not self._counts(scope):
            return 0
        client = client_key(scope)
        self._sweep()
        if self._limiter.hit(self._limit, client):
            return 0
        frees_at_s = self._limiter.get_window_stats(self._limit, client).reset_time
        return max(1, math.ceil(frees_at_s - time.time()))

    def _counts(self, scope: Scope) -> bool:
        return is_under(scope, self._prefixes) or (
            scope["method"] == "POST" and is_under(scope, self._post_prefixes)
        )

    def _sweep(self) -> None:
        """Forget the clients of the past: limits 5.8 drops their requests, but keeps an empty list for each.

        Doubling the number of clients at which to look again keeps the cost of a request constant.
        """
        events = self._storage.events
        if len(events) < self._next_sweep:
            return
        for client, recent in list(events.items()):
            if not recent:
                self._storage.clear(client)
        self._next_sweep = max(_FIRST_SWEEP, 2 * len(events))
