"""Follow a measurement of engines: what is measured now, how long that takes, and how it ended."""

from __future__ import annotations

from use_cases.comparison.engines import EnginePlan, in_order
from use_cases.wording import counted


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


def end_sentence(plan: EnginePlan, done: int, elapsed_s: float) -> str:
    """Say how a measurement ended: when all is done, or before, because it took too long.

    Args:
        plan: of the measurement.
        done: engines.
        elapsed_s: since the start.
    """
    total = len(in_order(plan.engines))
    if done == total:
        return f"Measured {counted(done, 'engine')} in {elapsed_s:.0f} s."
    return (
        f"Ended after {elapsed_s:.0f} s, longer than a measurement may take, with {done} of {total} engines;"
        " choose fewer of them."
    )
