"""Show an answer, and until it is there how long its engines have been loading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from app.ui.engine_choice import render_waiting
from engines.errors import EngineError
from engines.loading import EngineKey

T = TypeVar("T")


async def until_answered(
    answer: Coroutine[Any, Any, T], waiting: Sequence[EngineKey], note: Callable[[str], T], empty: T
) -> AsyncIterator[T]:
    """Yield an answer; before it, each second, how long it has waited for engines.

    Args:
        answer: ends when nobody listens any more.
        waiting: the engines that have to be loaded first; none: there is nothing to say meanwhile.
        note: makes what is shown of the HTML of a note.
        empty: stands after an error in place of a note that would wait for ever; without a note an older
            answer stays.

    Raises:
        EngineError: what the answer raises.
    """
    start_s = time.monotonic()
    answering = asyncio.ensure_future(answer)
    try:
        while waiting and not (await asyncio.wait({answering}, timeout=1))[0]:
            yield note(render_waiting(waiting, time.monotonic() - start_s))
        yield await answering
    except EngineError:
        if waiting:
            yield empty
        raise
    finally:
        answering.cancel()  # of no effect when it has answered
