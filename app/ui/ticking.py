"""Follow what takes minutes: its results as they come, and a moment every second to say how it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")

_TICK_S = 1.0


async def ticking(results: AsyncIterator[T]) -> AsyncGenerator[T | None, None]:
    """Yield the results, and None every second in between; who ends it ends what computes the next one."""
    following: asyncio.Future[T] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(results))
            if not (await asyncio.wait({following}, timeout=_TICK_S))[0]:
                yield None
                continue
            done, following = following, None
            try:
                result = done.result()
            except StopAsyncIteration:
                return
            yield result
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
