"""Statistics of latencies; no time is asserted."""

import pytest

from use_cases.latency import (
    MAX_FOREIGN_CORES,
    Effort,
    ForeignLoad,
    fewest_clean_rounds,
    is_clean,
    measure_latency,
    percentile,
    summarize,
)


def test_a_percentile_lies_between_its_neighbours():
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1, 2], 0.5) == 1.5
    assert percentile(range(101), 0.95) == 95
    assert percentile([7], 0.95) == 7


def test_clean_rounds_are_preferred_and_counted():
    summary = summarize([100, 900, 110, 120], [0.0, 1.2, MAX_FOREIGN_CORES, 0.1])
    assert (summary.median, summary.min, summary.max) == (110, 100, 120)
    assert (summary.num_rounds, summary.num_clean) == (4, 3)
    assert summary.rounds == (100, 900, 110, 120)


def test_without_a_clean_round_all_are_used_and_none_is_called_clean():
    summary = summarize([100, 300, 200], [1, 1, 1])
    assert (summary.median, summary.num_clean) == (200, 0)
    assert not is_clean(1)
    assert fewest_clean_rounds([summary, summarize([1], [0])]) == 0
    assert fewest_clean_rounds([]) == 0


def test_no_round_cannot_be_summarized():
    with pytest.raises(ValueError, match="no round"):
        summarize([], [])


def test_a_call_is_warmed_up_and_made_often_enough():
    calls = []
    profile = measure_latency(
        lambda: calls.append(0), 4, Effort(num_warmup=3, min_iters=5, min_duration_s=0.0)
    )
    assert len(calls) == 8
    assert profile.num_iters == 5
    assert profile.p50_ms <= profile.p95_ms
    assert profile.items_per_s > 0


def test_foreign_load_is_never_negative():
    load = ForeignLoad()
    sum(range(10_000))
    assert load.cores() >= 0
