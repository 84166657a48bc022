"""Blocking work that nobody waits for right now, on few threads of low priority."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from engines.worker.shared import available_cores

T = TypeVar("T")

_NICENESS = 10  # of 19; a thread of niceness 0 gets nine times the time of one of 10


async def in_background(function: Callable[..., T], /, *args: object) -> T:
    """Run a function as `asyncio.to_thread` does, but never on the threads that requests are prepared on.

    There are as many threads as cores, for the whole process, and Linux prefers all others to them. A
    call that is cancelled before it has begun never runs.

    Raises:
        Exception: what the function raises.
    """
    return await _submit(function, *args)


async def in_background_to_the_end(function: Callable[..., T], /, *args: object) -> T:
    """Do what `in_background` does for work that must not go on alone.

    A caller that is cancelled, however often, waits for its end first.

    Raises:
        Exception: what the function raises.
    """
    call = _submit(function, *args)
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from call.exception()
    return call.result()


def _submit(function: Callable[..., T], /, *args: object) -> asyncio.Future[T]:
    context = contextvars.copy_context()
    call = functools.partial(context.run, function, *args)
    return asyncio.get_running_loop().run_in_executor(_executor(), call)


@functools.cache
def _executor() -> ThreadPoolExecutor:
    """Make the threads at their first use; idle, they cost nothing, and they end with the process."""
    return ThreadPoolExecutor(available_cores(), "background", initializer=_yield_to_others)


def _yield_to_others() -> None:
    if sys.platform == "linux":  # elsewhere a niceness is the whole process's
        with contextlib.suppress(OSError):  # some sandboxes forbid it; the threads are few all the same
            thread = threading.get_native_id()
            niceness = max(os.getpriority(os.PRIO_PROCESS, thread), _NICENESS)
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
