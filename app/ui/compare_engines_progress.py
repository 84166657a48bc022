"""Follow a measurement of engines: what is measured now, how long that takes, and ending it in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from use_cases.comparison.engines import EnginePlan, EngineRow, in_order

_TICK_S = 1.0


def progress_sentence(plan: EnginePlan, done: int, done_s: float, elapsed_s: float) -> str:
    """Say what is measured, and what the engines so far let expect.

    Args:
        plan: of the measurement.
        done: engines.
        done_s: how long these took.
        elapsed_s: since the start.
    """
    names = in_order(plan.engines)
    if done == len(names):
        return f"Measured {done} engines."
    left_s = done_s / done * len(names) - elapsed_s if done else 0.0
    left = f", about {left_s:.0f} s left" if left_s > 0 else ""
    return f"Measuring {names[done]}, {done + 1} of {len(names)}; {elapsed_s:.0f} s so far{left}."


def end_sentence(plan: EnginePlan, done: int, elapsed_s: float) -> str:
    """Say how a measurement ended: when all is done, or before, because it took too long.

    Args:
        plan: of the measurement.
        done: engines.
        elapsed_s: since the start.
    """
    total = len(in_order(plan.engines))
    if done == total:
        return f"Measured {done} engines in {elapsed_s:.0f} s."
    return (
        f"Ended after {elapsed_s:.0f} s, longer than a measurement may take, with {done} of {total} engines;"
        " choose fewer of them."
    )


async def ticking(rows: AsyncIterator[EngineRow]) -> AsyncGenerator[EngineRow | None, None]:
    """Yield the rows, and None every second in between; whoever ends it ends what computes the next row."""
    following: asyncio.Future[EngineRow] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(rows))
            if not (await asyncio.wait({following}, timeout=_TICK_S))[0]:
                yield None
                continue
            done, following = following, None
            try:
                row = done.result()
            except StopAsyncIteration:
                return
            yield row
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
