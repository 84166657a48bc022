"""Follow a measurement of engines: what is measured now, how long that takes, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from use_cases.comparison.engines import EnginePlan, EngineRow, in_order
from use_cases.wording import counted


@dataclass(slots=True, eq=False)
class PageRun:
    """A measurement that a page has asked for, as far as it is."""

    page: str | None  # Gradio's name of the open page
    plan: EnginePlan
    facts: Mapping[str, Any] = field(default_factory=dict)  # of `measured_here`
    rows: list[EngineRow] = field(default_factory=list)
    start_s: float | None = None  # when its turn came
    is_stopped: bool = False  # by who is on the page

    @property
    def elapsed_s(self) -> float:
        """Return how long it has measured."""
        return 0.0 if self.start_s is None else time.monotonic() - self.start_s


def progress_sentence(plan: EnginePlan, done: int, done_s: float, elapsed_s: float) -> str:
    """Say what is measured, and what the engines so far let expect.

    Args:
        plan: of the measurement.
        done: engines.
        done_s: how long these took.
        elapsed_s: since the start.
    """
    names = in_order(plan.engines)
    if done == len(names):
        return f"Measured {counted(done, 'engine')}."
    left_s = done_s / done * len(names) - elapsed_s if done else 0.0
    left = f", about {left_s:.0f} s left" if left_s > 0 else ""
    return f"Measuring {names[done]}, {done + 1} of {len(names)}; {elapsed_s:.0f} s so far{left}."


def end_sentence(plan: EnginePlan, done: int, elapsed_s: float, *, stopped: bool = False) -> str:
    """Say how a measurement ended: when all is done, or before, because it took too long or was stopped.

    Args:
        plan: of the measurement.
        done: engines.
        elapsed_s: since the start.
        stopped: by who is on the page.
    """
    total = len(in_order(plan.engines))
    if done == total:
        return f"Measured {counted(done, 'engine')} in {elapsed_s:.0f} s."
    if stopped and not done:
        return "Stopped before an engine was measured."
    if stopped:
        return f"Stopped after {elapsed_s:.0f} s, with {done} of {total} engines; what was measured stays."
    return (
        f"Ended after {elapsed_s:.0f} s, longer than a measurement may take, with {done} of {total} engines;"
        " choose fewer of them."
    )
