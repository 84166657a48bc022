"""Statistics of made-up samples, and which policy and rounds they speak for."""

import pytest

from use_cases.load.comparisons import against_best_fixed
from use_cases.load.quantities import Round
from use_cases.load.samples import Sample, count, outcome_of, percentile_ms, steady_rate


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (429, "shed"), (500, "server_error"), (503, "server_error"), (404, "error")],
)
def test_a_status_is_an_outcome(status, outcome):
    assert outcome_of(status) == outcome
    assert count([Sample(0.0, 1.0, outcome_of(status))], outcome) == 1


def test_even_answers_have_their_rate():
    assert steady_rate([0.1 * index for index in range(100)], 0, 10) == pytest.approx(10)


@pytest.mark.parametrize("offset_s", [0.0, 0.4, 0.9])
def test_the_rate_of_large_batches_does_not_depend_on_where_the_time_is_cut(offset_s):
    times_s = [second + 0.0001 * item for second in range(20) for item in range(16)]
    assert steady_rate(times_s, 3 + offset_s, 9 + offset_s) == pytest.approx(16, rel=0.01)


def test_too_few_batches_are_counted_over_the_whole_time():
    assert steady_rate([1.0] * 16, 0, 2) == 8
    assert steady_rate([5.0], 0, 2) is None
    assert steady_rate([], 0, 2) is None


def test_percentiles_of_nothing_are_none():
    assert percentile_ms([], 0.5) is None
    assert percentile_ms([Sample(0, ms, "ok") for ms in (1.0, 2.0, 3.0)], 0.5) == 2.0


def test_the_best_fixed_policy_is_the_best_of_all_rounds_not_of_each():
    rounds = [
        Round(0.0, 0.0, {"adaptive": adaptive, "serial x 1": serial, "parallel x 1": parallel})
        for adaptive, serial, parallel in ((9.0, 10.0, 12.0), (9.0, 10.0, 4.0), (9.0, 10.0, 5.0))
    ]
    compared = against_best_fixed(rounds)
    assert [each.value for each in compared] == [0.9, 0.9, 0.9]
    assert {each.note for each in compared} == {"best fixed: serial x 1"}
