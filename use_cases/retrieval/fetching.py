"""Run searches of the database in the calling thread, on an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.query import AsyncVectorQuery

HANGS_AFTER_S = 30.0  # a search by the ANN index, which takes 20 ms among a million images
_ATTEMPTS = 2
logger = logging.getLogger(__name__)


def fetch(search: AsyncVectorQuery) -> pa.Table:
    """Return the rows that a search finds; for worker threads.

    The database's synchronous search hands each of its steps to another thread: that took 2 of 10 ms.
    """
    return _of_thread.own.loop.run_until_complete(search.to_arrow())


def fetch_by_index(search: AsyncVectorQuery) -> pa.Table:
    """Do what `fetch` does for a search by the ANN index.

    Very rarely such a search never ends, while all of the database's threads are idle; among ten thousand
    alone in a process it did not happen once. So it is asked again when it takes longer than any should.

    Raises:
        TimeoutError: when that does not end either.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _of_thread.own.loop.run_until_complete(asyncio.wait_for(search.to_arrow(), HANGS_AFTER_S))
        except asyncio.TimeoutError:
            logger.warning("A search by the ANN index has not ended within %g s", HANGS_AFTER_S)
            _of_thread.own = _Loop()  # nothing tells which side does not answer
    raise TimeoutError(f"{_ATTEMPTS} searches did not end within {HANGS_AFTER_S:g} s each")


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
