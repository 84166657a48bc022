"""Show an answer, and until it is there how long its engines have been loading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from app.ui.engine_choice import render_waiting
from app.ui.html_parts import render_note
from engines.errors import EngineError
from engines.loading import EngineKey

T = TypeVar("T")


async def until_answered(
    answer: Coroutine[Any, Any, T],
    waiting: Awaitable[Sequence[EngineKey]],
    note: Callable[[str], T],
    failed: Callable[[str], T] | None = None,
) -> AsyncGenerator[T, None]:
    """Yield an answer; before it, each second, how long it has waited for engines.

    After an error, why there is no answer takes the place of such a note, which would wait for ever; without
    one an older answer stays.

    Args:
        answer: ends when nobody listens any more.
        waiting: the engines that have to be loaded first; none: there is nothing to say meanwhile.
        note: makes what is shown of the HTML of a note.
        failed: does so after an error; the same when it is left out.

    Raises:
        EngineError: what the answer raises.
    """
    start_s = time.monotonic()
    answering: asyncio.Future[T] | None = None
    noted = False
    try:
        keys = await waiting
        answering = asyncio.ensure_future(answer)
        while keys and not (await asyncio.wait({answering}, timeout=1))[0]:
            noted = True
            yield note(render_waiting(keys, time.monotonic() - start_s))
        yield await answering
    except EngineError as error:
        if noted:
            yield (failed or note)(render_note(str(error)))
        raise
    finally:
        if answering is None:
            answer.close()
        else:
            answering.cancel()  # of no effect when it has answered
