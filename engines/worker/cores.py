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
    holds as many slots as it computes on. The background gets what nobody else wants: while somebody
    waits for more slots than are free, or is about to ask, they are kept free. Belongs to one event loop.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._waiters: deque[_Waiter] = deque()
        self._background: deque[_Waiter] = deque()
        self._queues: list[Callable[[], bool]] = []

    @property
    def busy(self) -> int:
        """Return the number of slots that are held."""
        return self.count - self._free

    def add_queue(self, has_items: Callable[[], bool]) -> None:
        """Let the background hold back while a queue has items, even before anybody asks for slots.

        Whoever owns the queue asks for slots or calls `reconsider` in the end, whatever becomes of the items.
        """
        self._queues.append(has_items)

    def remove_queue(self, has_items: Callable[[], bool]) -> None:
        """Forget a queue."""
        self._queues.remove(has_items)
        self.reconsider()

    async def acquire(self, need: Callable[[], int], *, background: bool = False) -> int:
        """Wait for slots and return how many were taken; the caller releases as many.

        Args:
            need: how many, at most `count`. Asked again whenever something changes while slots are free,
                because what a caller needs depends on what has queued up behind it meanwhile.
            background: let all others pass.
        """
        waiter = _Waiter(need)
        queue = self._background if background else self._waiters
        queue.append(waiter)
        self.reconsider()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and not granted.exception():
                self.release(granted.result())
            elif waiter in queue:
                queue.remove(waiter)
                self.reconsider()
            raise

    def release(self, count: int) -> None:
        """Give slots back."""
        self._free += count
        self.reconsider()

    def reconsider(self) -> None:
        """Serve whoever waits and can be served; call it when what somebody needs may have changed."""
        self._serve(self._waiters)
        if self._background and not self._waiters and not any(has_items() for has_items in self._queues):
            self._serve(self._background)

    def _serve(self, queue: deque[_Waiter]) -> None:
        """Serve the first of a queue, and the next, up to one that has to wait."""
        while queue and self._free:  # to ask for a need means to choose a call, which is not cheap
            waiter = queue[0]
            if waiter.granted.done():  # cancelled; its task has not run since
                queue.popleft()
                continue
            try:
                count = waiter.need()
            except Exception as error:  # a bug of the waiter's, which must not reach whoever called
                queue.popleft()
                waiter.granted.set_exception(error)
                continue
            if count > self._free:
                return
            self._free -= count
            queue.popleft()
            waiter.granted.set_result(count)
