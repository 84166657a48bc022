"""The search for the entropy's range finds what ONNX Runtime's own finds."""

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from engines.onnx.entropy import EntropyCollector


def normal(rng):
    return rng.normal(size=2000)


DRAWS = {
    "on both sides of zero": normal,
    "on one side": lambda rng: np.maximum(normal(rng), 0),
    "with outliers, so that bins are added": lambda rng: np.append(normal(rng), 20 * rng.normal()),
    "few values": lambda rng: rng.choice([-7, 0, 1, 30], size=30),
    "tiny": lambda rng: 1e-6 * rng.normal(size=3),
    "one value": lambda rng: np.full(50, 3),
    "nothing but zero": lambda rng: np.zeros(50),
}


def found_by(collector, draw):
    rng = np.random.default_rng(0)
    for _ in range(3):
        collector.collect({"x": draw(rng).astype(np.float32)})
    return collector.compute_collection_result()["x"][:2]


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_it_finds_the_same_range_as_the_library(draw):
    arguments = ("entropy", False, 256, 128, 0.0, "same")
    ours, library = (found_by(kind(*arguments), draw) for kind in (EntropyCollector, HistogramCollector))
    assert ours == library
