"""Flights: an item that several requests ask for at the same time is computed once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from engines.errors import EngineClosedError, EngineError

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Flight(Generic[R]):
    result: asyncio.Future[R]
    waiters: int = 0


class Flights(Generic[K, R]):
    """The items that are being computed, by key; belongs to one event loop.

    Who asks for an item in flight waits for it. An item whose last waiter has gone is cancelled; one
    caller's end does not touch what others wait for, even if it was the first to ask.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[R]] = {}
        self._launches: set[asyncio.Task[None]] = set()

    async def fetch(
        self,
        keys: Sequence[K],
        launch: Callable[[list[int], list[asyncio.Future[R]]], Awaitable[None]],
    ) -> list[R]:
        """Return the results of the keys, in order, starting those that are not in flight.

        Args:
            keys: equal ones are computed once.
            launch: gets the positions of the keys to compute, and a future for each to settle; one that
                is done by then is no longer wanted. What it raises becomes the error of all of them.

        Raises:
            EngineError: an item's own error; each caller gets an instance of its own.
        """
        flights: list[_Flight[R]] = []
        new: list[int] = []
        for position, key in enumerate(keys):
            flight = self._flights.get(key)
            if flight is None or flight.result.done():
                flight = self._take_off(key)
                new.append(position)
            flight.waiters += 1
            flights.append(flight)
        if new:
            self._launch(launch, new, [flights[position].result for position in new])
        try:
            return [await asyncio.shield(flight.result) for flight in flights]
        except EngineError as error:
            raise type(error)(*error.args) from error
        finally:
            for flight in flights:
                flight.waiters -= 1
                if not flight.waiters:
                    flight.result.cancel()

    async def close(self) -> None:
        """Cancel what is still being prepared; its waiters get EngineClosedError."""
        launches = list(self._launches)
        for launch in launches:
            launch.cancel()
        if launches:
            await asyncio.wait(launches)

    def _take_off(self, key: K) -> _Flight[R]:
        flight: _Flight[R] = _Flight(asyncio.get_running_loop().create_future())
        self._flights[key] = flight

        def land(result: asyncio.Future[R]) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            _ = result.cancelled() or result.exception()  # a waiter may have gone before it failed

        flight.result.add_done_callback(land)
        return flight

    def _launch(
        self,
        launch: Callable[[list[int], list[asyncio.Future[R]]], Awaitable[None]],
        positions: list[int],
        results: list[asyncio.Future[R]],
    ) -> None:
        async def run() -> None:
            await launch(positions, results)

        def end(task: asyncio.Task[None]) -> None:
            self._launches.discard(task)
            for result in results:
                if result.done():
                    continue
                if task.cancelled():  # by close(); the waiters themselves were not cancelled
                    result.set_exception(EngineClosedError("The engine was stopped before it could answer."))
                elif error := task.exception():
                    result.set_exception(error)

        task = asyncio.get_running_loop().create_task(run())
        self._launches.add(task)
        task.add_done_callback(end)


def link(request: asyncio.Future[Any], result: asyncio.Future[R], finish: Callable[[Any], R]) -> None:
    """Let a future end as another does; if it is cancelled first, so is the other.

    Args:
        request: what is waited for.
        result: gets what `finish` makes of the request's result, or its error.
        finish: called with the request's result, wanted or not.
    """

    def forward(done: asyncio.Future[Any]) -> None:
        if done.cancelled():
            result.cancel()
        elif error := done.exception():
            if not result.done():
                result.set_exception(error)
        else:
            try:
                value = finish(done.result())
            except Exception as failure:  # whoever waits must hear of it, or waits for ever
                if not result.done():
                    result.set_exception(failure)
                return
            if not result.done():
                result.set_result(value)

    request.add_done_callback(forward)
    result.add_done_callback(lambda done: request.cancel() if done.cancelled() else None)
