"""A profile's summary: medians by block and operator, and nothing is hidden."""

import pytest

from engines.profiling.blocks import OTHER, Place
from engines.profiling.calls import Call, CallLimits, Step, repeat_call, summarize_calls

NORM = Place("vision_model.post_layernorm", "LayerNormalization")
HEAD = Place("vision_model.head.mlp.fc1", "MatMul")
STRANGE = Place("vision_model.adapter", "MatMul")


def call(wall_ms, *steps):
    return Call(wall_ms, tuple(Step(place, ms) for place, ms in steps))


def test_blocks_are_medians_and_add_up_to_the_call():
    calls = [
        call(10.0, (NORM, 1.0), (HEAD, 7.0), (STRANGE, 1.0)),
        call(12.0, (NORM, 1.0), (HEAD, 8.0), (STRANGE, 1.0)),
        call(99.0, (NORM, 2.0), (HEAD, 90.0), (STRANGE, 1.0)),
    ]
    profile = summarize_calls(calls, "siglip")
    assert profile.block_ms == {"final norm": 1.0, "pooling head": 8.0, OTHER: 3.0}
    assert profile.total_ms == profile.wall_ms == 12.0
    assert profile.num_calls == 3


def test_operators_are_counted_by_kind_the_slowest_first():
    profile = summarize_calls([call(10.0, (NORM, 1.0), (HEAD, 7.0), (STRANGE, 1.0))], "siglip")
    rows = [(row.operator, row.num_runs, row.ms, row.flop) for row in profile.operators]
    assert rows == [("MatMul", 2, 8.0, 0), ("LayerNormalization", 1, 1.0, 0)]


@pytest.mark.parametrize(("flops", "total"), [((10, 20), 30), ((10, None), None), ((None, 20), None)])
def test_an_operator_s_arithmetic_is_known_when_that_of_each_of_its_runs_is(flops, total):
    steps = tuple(Step(HEAD, 1.0, flop) for flop in flops)
    (row,) = summarize_calls([Call(2.0, steps)], "siglip").operators
    assert row.flop == total


def test_other_is_there_even_when_nothing_is_left():
    assert summarize_calls([call(1.0, (NORM, 1.0))], "siglip").block_ms == {"final norm": 1.0, OTHER: 0.0}


@pytest.mark.parametrize(("seconds", "num_calls"), [(0.0, 3), (60.0, 5)])
def test_calls_are_limited_by_time_and_by_number(seconds, num_calls):
    made = []
    limits = CallLimits(seconds=seconds, num_warmup=2, min_calls=3, max_calls=5)
    repeat_call(lambda: made.append(1), limits)
    assert len(made) == 2 + num_calls
