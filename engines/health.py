"""EngineHealth: whether an engine answers, as the readiness report tells it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engines.worker.batched_engine import BatchedEngine
from engines.worker.canary import Canary

_SILENT_S = 20.0  # without the end of an engine call while some are due; the slowest takes a few seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """The state of one engine that this server offers or has loaded."""

    model: str
    engine: str
    state: str  # "loading", "ready", "unloaded" (the next request loads it), "failed" or "stalled"
    problem: str | None = None  # one sentence
    heartbeat_age_s: float | None = None  # since an engine call ended well; None before the first
    canary_age_s: float | None = None  # since the canary's embedding matched its reference
    restarts: int = 0  # of a part of the worker that failed, died or hung
    queue_size: int = 0

    @property
    def is_ready(self) -> bool:
        """Tell whether a request would be answered."""
        return self.state in ("ready", "unloaded")


def read_health(model: str, engine: BatchedEngine, canary: Canary, max_canary_age_s: float) -> EngineHealth:
    """Return the health of a running engine.

    Args:
        model: the name under which it is offered.
        engine: the running engine.
        canary: its canary.
        max_canary_age_s: from which on a canary that was not seen counts as a problem.
    """
    now_s = time.perf_counter()
    beats = [batcher.stats.last_success_s for batcher in engine.batchers.values()]
    last_s = max((beat for beat in beats if beat is not None), default=None)
    canary_age_s = now_s - canary.passed_s
    silent_s = max(batcher.silent_s for batcher in engine.batchers.values())
    problem = canary.problem
    if silent_s > _SILENT_S:
        problem = f"no engine call has ended for {silent_s:.0f} s"
    elif canary.is_outdated:
        problem = problem or "the worker was started again and has not been checked since"
    elif now_s - max(canary.passed_s, canary.postponed_s) > max_canary_age_s:
        problem = problem or f"the last canary that matched is {canary_age_s:.0f} s old"
    return EngineHealth(
        model=model,
        engine=engine.engine.name,
        state="stalled" if problem else "ready",
        problem=problem,
        heartbeat_age_s=None if last_s is None else now_s - last_s,
        canary_age_s=canary_age_s,
        restarts=engine.restarts,
        queue_size=sum(batcher.queue_size for batcher in engine.batchers.values()),
    )
