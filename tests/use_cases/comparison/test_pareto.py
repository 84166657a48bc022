"""The front holds what nothing beats in both ways, ties included, and nothing that was not measured."""

import math

import numpy as np
import pytest

from use_cases.comparison.pareto import pareto_front


def test_slower_and_less_accurate_points_are_off_the_front():
    latencies_ms, accuracies = [204, 89, 75, 213, 125], [1.0, 0.9998, 0.9997, 0.97, 1.0]
    assert pareto_front(latencies_ms, accuracies) == [2, 1, 4]


@pytest.mark.parametrize(
    ("latencies_ms", "accuracies", "front"),
    [
        ([], [], []),
        ([5.0], [0.1], [0]),
        ([5, 5, 5], [0.9, 0.9, 0.8], [0, 1]),  # equal points stand together
        ([5, 6], [0.9, 0.9], [0]),  # as accurate, but slower
        ([5, math.nan, 4], [math.nan, 1.0, 0.5], [2]),
    ],
)
def test_ties_and_gaps(latencies_ms, accuracies, front):
    assert pareto_front(latencies_ms, accuracies) == front


def test_it_agrees_with_the_definition_on_random_points():
    rng = np.random.default_rng(0)
    latencies_ms, accuracies = rng.integers(0, 12, 60), rng.integers(0, 12, 60)
    beaten = [
        any(
            other_ms <= ms and other >= accuracy and (other_ms < ms or other > accuracy)
            for other_ms, other in zip(latencies_ms, accuracies, strict=True)
        )
        for ms, accuracy in zip(latencies_ms, accuracies, strict=True)
    ]
    assert sorted(pareto_front(latencies_ms, accuracies)) == [i for i in range(60) if not beaten[i]]
