"""CoreSlots: which engine calls may compute at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Waiter:
    need: Callable[[], int]
    granted: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class CoreSlots:
    """The cores of this machine, which all engines share; first come, first served.

    Two calls that each want all cores are slower side by side than one after the other, so each call
    holds as many slots as it computes on. Belongs to one event loop.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._waiters: deque[_Waiter] = deque()

    @property
    def busy(self) -> int:
        """Return the number of slots that are held."""
        return self.count - self._free

    async def acquire(self, need: Callable[[], int]) -> int:
        """Wait for slots and return how many were taken; the caller releases as many.

        Args:
            need: how many, at most `count`. Asked again whenever something changes, because what a
                caller needs depends on what has queued up behind it meanwhile.
        """
        waiter = _Waiter(need)
        self._waiters.append(waiter)
        self.reconsider()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and not granted.exception():
                self.release(granted.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
                self.reconsider()
            raise

    def release(self, count: int) -> None:
        """Give slots back."""
        self._free += count
        self.reconsider()

    def reconsider(self) -> None:
        """Serve whoever waits and can be served; call it when what somebody needs may have changed."""
        while self._waiters:
            waiter = self._waiters[0]
            if waiter.granted.done():  # cancelled; its task has not run since
                self._waiters.popleft()
                continue
            try:
                count = waiter.need()
            except Exception as error:  # a bug of the waiter's, which must not reach whoever called
                self._waiters.popleft()
                waiter.granted.set_exception(error)
                continue
            if count > self._free:
                return
            self._free -= count
            self._waiters.popleft()
            waiter.granted.set_result(count)
