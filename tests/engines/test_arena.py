"""What an arena keeps: as much as its calls need, and no longer what one large call needed once."""

import numpy as np
import onnx
import psutil
import pytest

from engines.onnx.allocator import Allocator
from engines.onnx.arena import CALLS_TO_OUTGROW, Arena
from engines.onnx.ort_runtime import OrtRuntime
from tests.engines.graphs import DIM, build_tower

LARGE_VALUES = 500_000
LARGE_BYTES = LARGE_VALUES * DIM * 4  # of its token embeddings


def giving_back(sizes):
    """Return which of a session's calls give memory back."""
    arena = Arena()
    return [call for call, size in enumerate(sizes) if arena.run_options(size) is not None]


def test_calls_as_large_as_any_give_nothing_back():
    assert giving_back([1, 2, 4, 8]) == []
    assert giving_back([4] * 3 * CALLS_TO_OUTGROW) == []


def test_a_large_call_is_outgrown_by_smaller_ones_in_a_row_and_that_once():
    assert giving_back([16] + [1] * 5 * CALLS_TO_OUTGROW) == [CALLS_TO_OUTGROW]


def test_a_size_that_comes_back_in_time_keeps_its_memory():
    now_and_then = [16] + [1] * (CALLS_TO_OUTGROW - 1)
    assert giving_back(now_and_then * 3) == []


def test_each_larger_size_is_outgrown_in_its_turn():
    sizes = [16] + [4] * CALLS_TO_OUTGROW + [1] * CALLS_TO_OUTGROW
    assert giving_back(sizes) == [CALLS_TO_OUTGROW, 2 * CALLS_TO_OUTGROW]


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "tower.onnx"
    onnx.save(build_tower(), path)
    return path


def rss_after(runtime, tower, num_values, times=1):
    inputs = {"input_ids": np.zeros((100, num_values // 100), np.int64)}
    for _ in range(times):
        assert runtime.run(tower, "embeddings", inputs).shape == (100, DIM)
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize("single_threaded", [False, True])
def test_memory_of_a_large_call_goes_back_to_the_system(tower, single_threaded):
    runtime = OrtRuntime()
    rss_after(runtime, tower, 1000)
    runtime = runtime.single_threaded() if single_threaded else runtime
    rss_after(runtime, tower, 1000)  # what an arena begins with it keeps
    large_bytes = rss_after(runtime, tower, LARGE_VALUES)
    kept_bytes = rss_after(runtime, tower, 1000, CALLS_TO_OUTGROW - 1)
    assert kept_bytes > large_bytes - LARGE_BYTES / 4
    assert rss_after(runtime, tower, 1000) < large_bytes - LARGE_BYTES / 2


def test_without_an_arena_there_is_nothing_to_give_back(tower):
    runtime = OrtRuntime(allocator=Allocator(arena=False))
    rss_after(runtime, tower, LARGE_VALUES)
    rss_after(runtime, tower, 1000, CALLS_TO_OUTGROW + 1)
