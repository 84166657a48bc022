"""Run searches of the database in the calling thread, on an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.query import AsyncVectorQuery

# Of the first try and the second. Among a million images the index takes 20 ms and comparing all of them
# seconds; from a slow disk it may be more, and then the second try has the time.
LIMITS_S = (30.0, 300.0)
logger = logging.getLogger(__name__)


def fetch(search: AsyncVectorQuery) -> pa.Table:
    """Return the rows that a search finds; for worker threads.

    The database's synchronous search hands each of its steps to another thread: that took 2 of 10 ms.

    Very rarely a search never ends, by the index or without it, while all of the database's threads are idle;
    among ten thousand alone in a process it did not happen once. So it is asked again when it takes longer
    than any should.

    Raises:
        TimeoutError: when that does not end either.
    """
    for limit_s in LIMITS_S:
        try:
            return _of_thread.own.loop.run_until_complete(asyncio.wait_for(search.to_arrow(), limit_s))
        except asyncio.TimeoutError:
            logger.warning("A search has not ended within %g s", limit_s)
            _of_thread.own = _Loop()  # nothing tells which side does not answer
    raise TimeoutError(f"{len(LIMITS_S)} searches did not end, the last within {LIMITS_S[-1]:g} s")


class _Loop:
    """An event loop that is closed with the thread that it belongs to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def __del__(self) -> None:
        self.loop.close()


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.own = _Loop()  # for each thread that asks for one


_of_thread = _OfThread()
