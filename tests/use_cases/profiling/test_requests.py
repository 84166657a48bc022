"""A request's stages: who a function's time belongs to, a real sampling, and the missing package."""

import sys
from types import SimpleNamespace

import pytest

from engines.preparation.images import decode_image, read_image_file
from engines.preparation.preprocess import Preprocessor
from tests.fakes import FakeEngine, FakePreprocessor
from use_cases.profiling.requests import (
    DECODE,
    ENGINE,
    IO,
    PREPARE,
    PYTHON,
    STAGES,
    sample_requests,
    stage_marks,
    stage_seconds,
)


@pytest.fixture
def profiler():
    engine = FakeEngine()
    return SimpleNamespace(engine=engine, runtime_function=FakeEngine._embed)


def frame(function, time, *children):
    """Return a frame as pyinstrument has it, of a function or of a name that nobody knows."""
    code = getattr(function, "__code__", None)
    name, path = (code.co_name, code.co_filename) if code else (function, "elsewhere.py")
    return SimpleNamespace(function=name, file_path=path, time=time, children=children)


def test_time_belongs_to_the_innermost_function_that_begins_a_stage(profiler):
    tree = frame(
        "ask_zero_shot",
        20.0,
        frame(decode_image, 6.0, frame(read_image_file, 2.0, frame("read_bytes", 1.5)), frame("load", 3.0)),
        frame(Preprocessor.prepare_image, 4.0, frame("resize", 4.0)),
        frame("embed_pixels", 9.0, frame(FakeEngine._embed, 8.0, frame("run", 7.0))),
    )
    assert stage_seconds(tree, stage_marks(profiler)) == {
        IO: 2.0, DECODE: 4.0, PREPARE: 4.0, ENGINE: 8.0, PYTHON: 2.0,
    }  # fmt: skip


def test_real_requests_are_sampled(profiler, red_png):
    pytest.importorskip("pyinstrument")
    preprocessor = FakePreprocessor(profiler.engine.spec)
    stages = sample_requests(profiler, preprocessor, [red_png], ["red", "blue"], seconds=0.1)
    assert stages.num_requests >= 2
    assert stages.ms > 0
    assert list(stages.shares) == list(STAGES)
    assert sum(stages.shares.values()) == pytest.approx(1)
    assert stages.shares[DECODE] > 0


def test_without_the_sampler_a_sentence_says_what_is_missing(profiler, red_png, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyinstrument", None)
    stages = sample_requests(profiler, FakePreprocessor(profiler.engine.spec), [red_png], ["red"], 0.1)
    assert stages.shares is None
    assert stages.reason.endswith("pip install pyinstrument")
