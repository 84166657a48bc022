"""The Pareto front: the engines to which no other one is both faster and more accurate."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(latencies_ms: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Return the positions on the front, the fastest first.

    A point is on it unless another one is at least as fast and at least as accurate, and better in one of
    both; equal points are on it together. Points with a NaN are never on it.

    Args:
        latencies_ms: less is better.
        accuracies: more is better; as many.
    """
    points = [
        (latency_ms, -accuracy, position)
        for position, (latency_ms, accuracy) in enumerate(zip(latencies_ms, accuracies, strict=True))
        if not math.isnan(latency_ms) and not math.isnan(accuracy)
    ]
    front: list[int] = []
    best, best_at_ms = math.inf, math.inf  # the largest accuracy so far, negated, and where it was reached
    for latency_ms, negated, position in sorted(points):
        if negated < best or (negated == best and latency_ms == best_at_ms):
            best, best_at_ms = negated, latency_ms
            front.append(position)
    return front
