"""Load from inside a server: clients that share its process, and so its cores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from engines.errors import EngineError
from use_cases.latency import percentile
from use_cases.load.samples import steady_rate


@dataclass(frozen=True, slots=True)
class InsideLoad:
    """What some clients met; None where nothing was answered."""

    clients: int
    seconds: float
    answered: int
    refused: int  # with an error that clients can act on, such as a full queue
    requests_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None


async def make_load(ask: Callable[[], Awaitable[object]], clients: int, seconds: float) -> InsideLoad:
    """Let some clients ask for some seconds, each again as soon as it is answered.

    Args:
        ask: makes one request.
        clients: how many.
        seconds: for how long; then each waits for its last answer.

    Raises:
        Exception: what is a bug in `ask`.
    """
    ends_s: list[float] = []
    times_ms: list[float] = []
    refused = 0
    start_s = time.perf_counter()

    async def keep_asking() -> None:
        nonlocal refused
        while time.perf_counter() - start_s < seconds:
            ask_s = time.perf_counter()
            try:
                await ask()
            except EngineError:
                refused += 1
                await asyncio.sleep(0.1)  # as a client would that was refused
                continue
            end_s = time.perf_counter()
            ends_s.append(end_s)
            times_ms.append((end_s - ask_s) * 1000)

    await asyncio.gather(*(keep_asking() for _ in range(clients)))
    return InsideLoad(
        clients=clients,
        seconds=seconds,
        answered=len(times_ms),
        refused=refused,
        requests_per_s=steady_rate(ends_s, start_s, start_s + seconds),
        p50_ms=percentile(times_ms, 0.5) if times_ms else None,
        p95_ms=percentile(times_ms, 0.95) if times_ms else None,
    )
