"""EngineThread: a thread that makes engine calls, and may be left behind when one never ends."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from engines.errors import InferenceError

R = TypeVar("R")


class _Call(NamedTuple):
    run: Callable[[], object]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[tuple[object, float, float]]


class EngineThread:
    """Runs one call after the other off the event loop.

    The thread starts with its first call and starts again when it has died. Unlike an executor's it
    does not keep the process alive: a call that hangs in native code cannot be ended, only left.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._leaving: list[threading.Thread] = []
        self.deaths = 0  # times that the thread ended of itself

    async def call(self, run: Callable[[], R], timeout_s: float) -> tuple[R, float, float]:
        """Return what `run` returns, and when it began and ended on the clock of `time.perf_counter`.

        Raises:
            InferenceError: when it takes longer than the timeout; the thread is left behind with it, and
                the next call gets a new one.
            Exception: what `run` raises.
        """
        self._start()
        loop = asyncio.get_running_loop()
        call = _Call(run, loop, loop.create_future())
        self._calls.put(call)
        alarm = loop.call_later(timeout_s, self._leave_behind, call, timeout_s)
        try:
            result, start_s, end_s = await call.future
        except ThreadEndedError:  # it may still look alive for a moment, but takes no more calls
            self.deaths += 1
            self.close()
            raise
        finally:
            alarm.cancel()
        return result, start_s, end_s  # type: ignore[return-value]  # the queue forgets the type

    def close(self) -> None:
        """Let the thread end after the call that it may be in."""
        self._calls.put(None)
        if self._thread is not None:
            self._leaving.append(self._thread)
        self._calls, self._thread = queue.SimpleQueue(), None

    def join(self, timeout_s: float) -> bool:
        """Wait for closed threads to end; return whether they have."""
        end_s = time.monotonic() + timeout_s
        for thread in self._leaving:
            thread.join(max(end_s - time.monotonic(), 0.0))
        self._leaving = [thread for thread in self._leaving if thread.is_alive()]
        return not self._leaving

    def _leave_behind(self, call: _Call, timeout_s: float) -> None:
        if call.future.done():
            return
        self.close()
        call.future.set_exception(
            StalledError(
                f"The engine did not answer within {timeout_s:g} s and was started again; try once more."
            )
        )

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._calls = queue.SimpleQueue()
        thread = threading.Thread(target=_work, args=(self._calls,), name=self._name, daemon=True)
        thread.start()
        self._thread = thread


class StalledError(InferenceError):
    """An engine call did not end in time."""


class ThreadEndedError(InferenceError):
    """An engine call ended its thread."""


def _work(calls: queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        start_s = time.perf_counter()
        try:
            result = call.run()
        except Exception as error:
            _settle(call, error=error)
        except BaseException:  # SystemExit and its like end a thread, but nobody may wait for ever
            _settle(call, error=ThreadEndedError("The engine's thread ended on this request; try once more."))
            return
        else:
            _settle(call, result=(result, start_s, time.perf_counter()))


def _settle(
    call: _Call, *, result: tuple[object, float, float] | None = None, error: Exception | None = None
) -> None:
    def settle() -> None:
        if call.future.done():
            return
        if error is not None:
            call.future.set_exception(error)
        elif result is not None:
            call.future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the caller may be gone with its event loop
        call.loop.call_soon_threadsafe(settle)
