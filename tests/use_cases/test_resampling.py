"""Intervals hold the value they are of, and nothing that cannot be."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.use_cases.labelled.test_calibration_metrics import random_logits
from tests.use_cases.labelled.test_metrics import random_several
from use_cases.labelled import calibration_metrics, metrics
from use_cases.resampling import Estimate, estimates, share_estimate, unsure_text


def mirrored(value, resampled, within=(0.0, 1.0)):
    column = np.asarray(resampled, float)[:, None]
    return estimates({"ece": value}, column, mirrored=("ece",), within=within)["ece"]


@pytest.mark.parametrize(
    ("value", "resampled", "low", "high"),
    [
        (0.3, np.linspace(0.2, 0.5, 101), 0.1075, 0.3925),
        (0.9, np.linspace(0.5, 0.95, 101), 0.86125, 1.0),  # mirrored it would end at 1.29
        (0.02, np.linspace(0.03, 0.09, 101), 0.0, 0.0885),  # mirrored it would end at 0.0085
        (0.0, np.linspace(0.0, 0.1, 101), 0.0, 0.0975),  # a bin that is exact: mirrored, [0, 0]
        (0.0, np.zeros(101), 0.0, 0.0),
        (1.0, np.linspace(0.6, 1.0, 101), 0.61, 1.0),
        (1.0, np.ones(101), 1.0, 1.0),
    ],
)
def test_a_mirrored_interval_holds_its_value_and_stays_within_bounds(value, resampled, low, high):
    found = mirrored(value, resampled)
    assert found.low <= value <= found.high
    assert (found.low, found.high) == pytest.approx((low, high))


def test_a_difference_may_be_below_zero():
    found = mirrored(-0.3, np.linspace(-0.5, -0.2, 101), within=(-1.0, 1.0))
    assert (found.low, found.high) == pytest.approx((-0.3925, -0.1075))
    assert not found.holds_zero
    assert mirrored(-0.9, np.linspace(-0.95, -0.5, 101), within=(-1.0, 1.0)).low == -1


@pytest.mark.parametrize("seed", range(12))
def test_every_share_lies_in_its_interval_between_0_and_1(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 40)), int(rng.integers(2, 9))
    logits, truth = random_logits(*size, seed, several=True)
    logits *= rng.choice([0.0, 0.1, 1.0, 40.0])
    scores, several = random_several(*size, seed)
    found = [
        *calibration_metrics.measure(calibration_metrics.pair_predictions(logits, truth)).items(),
        *calibration_metrics.measure(calibration_metrics.top1_predictions(logits, truth)).items(),
    ]
    judged = metrics.judge(scores * rng.choice([0.0, 1.0, 40.0]), several)
    found += estimates(metrics.measure(judged), metrics.resample(judged), mirrored=metrics.MIRRORED).items()
    for name, each in found:
        assert each.low >= 0
        assert each.low - 1e-12 <= each.value <= each.high + 1e-12  # of sums in different orders
        assert each.high <= 1 or name == "nll"


@pytest.mark.parametrize(("count", "number"), [(1, 1), (3, 3), (0, 10), (5, 10), (90, 100), (7, 4000)])
def test_the_interval_of_a_share_is_wilson_s(count, number):
    found = share_estimate(count / number, number)
    theirs = binomtest(count, number).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_differences_that_may_be_none_are_named():
    found = {"top1": Estimate(0.1, -0.1, 0.2), "top5": Estimate(0.1, 0.05, 0.2)}
    titles = {"top1": "top-1 %", "top5": "top-5 %"}
    assert unsure_text(found, titles) == "  no significant difference: top-1"
    assert unsure_text({"top5": found["top5"]}, titles) == ""
