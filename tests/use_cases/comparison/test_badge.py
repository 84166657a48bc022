"""Badges: a right engine passes, a broken one fails with its numbers, an unmeasured one says so."""

import dataclasses
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engines import factory, quality
from engines.artifacts import store
from engines.errors import QualityGateError
from engines.factory import ENGINES, EngineOptions, load_engine, resolve_model
from engines.onnx.artifacts import ensure_exported, ensure_quantized
from engines.quality import GATE_4_BIT, GATE_8_BIT, Quality, ensure_quality, ensure_reference
from use_cases.comparison.badge import EXACT_GATE, gate_of, judge, judge_record

GOOD = Quality(
    image_cosine_mean=0.9995, image_cosine_min=0.999, text_cosine_mean=0.9991, text_cosine_min=0.998,
    top1_agreement=1.0, num_images=32, num_texts=66,
)  # fmt: skip
AGREEMENT = {
    "image_cosine_mean": 0.9774, "image_cosine_min": 0.96,
    "text_cosine_mean": 0.9716, "text_cosine_min": 0.96, "top1": 0.47,
}  # fmt: skip


def test_each_engine_has_its_own_gate():
    assert gate_of("onnx-int8-dynamic") is GATE_8_BIT
    assert gate_of("onnx-int4") is GATE_4_BIT
    assert gate_of("torch-fp32") is gate_of("plain-transformers") is EXACT_GATE


@pytest.mark.parametrize(
    ("engine", "changes", "state", "words"),
    [
        ("onnx-int8-dynamic", {}, "passed", "Cosine to float32 0.9995 for images"),
        ("onnx-int8-dynamic", {"top1_agreement": 0.5}, "failed", "top-1 agreement 0.5000 (0.98 needed)"),
        ("onnx-int8-dynamic", {"text_cosine_mean": float("nan")}, "failed", "text cosine nan (0.995 needed)"),
        ("openvino", {}, "failed", "image cosine 0.9995 (0.9999 needed)"),  # it claims to be float32
    ],
)
def test_the_verdict_comes_with_its_numbers(engine, changes, state, words):
    badge = judge(engine, dataclasses.replace(GOOD, **changes))
    assert badge.state == state
    assert words in badge.sentence


def test_what_was_not_measured_says_why():
    assert judge("onnx-int4", None).state == "not measured"
    assert "first use" in judge("onnx-int4", None).sentence
    assert "no gate" in judge("torch-fp32", None).sentence
    assert judge("onnx-int4", None, "It has no package.").sentence == "It has no package."


def test_a_record_is_judged_by_its_cosines():
    assert judge_record("onnx-int4", AGREEMENT).state == "passed"
    assert judge_record("onnx-int8-dynamic", AGREEMENT).state == "failed"
    assert "0.9716" in judge_record("onnx-int8-dynamic", AGREEMENT).sentence
    assert judge_record("onnx-int4", None).state == "not measured"
    assert judge_record("onnx-int4", AGREEMENT | {"image_cosine_mean": float("nan")}).state == "failed"


def measure_here(module, model, engine, folder, reference, cache_dir):
    """Do in this process what the gate does in one of its own, which would not know our engines."""
    quality._measure(model, engine, quality.Path(folder), reference, quality.Path(cache_dir))


def keep_reference(spec, cache_dir):
    """Copy float32's embeddings, which take a while, from the user's cache."""
    folder = ensure_reference(spec, store.default_cache_dir()).parent
    shutil.copytree(folder, cache_dir / folder.name)


class Scrambled:
    """Gives each row of another engine's embeddings to the next input, as a wrong batch order does."""

    def __init__(self, engine):
        self.spec, self._engine, self.name = engine.spec, engine, "scrambled"

    def embed_pixels(self, pixels):
        rows = self._engine.embed_pixels(pixels)
        return np.roll(rows, 7, axis=1)  # one at a time there is no other row, so dimensions move

    def embed_tokens(self, tokens):
        return self._engine.embed_tokens(tokens)


@pytest.mark.model
def test_an_engine_that_scrambles_its_vectors_fails_and_is_refused(monkeypatch, tmp_path):
    spec = resolve_model("siglit-mini")
    entry = factory._EngineEntry(
        lambda spec, options: Scrambled(load_engine(spec, "onnx-fp32")), gate=GATE_8_BIT
    )
    monkeypatch.setitem(ENGINES, "scrambled", entry)
    monkeypatch.setattr(quality, "run_builder", measure_here)
    keep_reference(spec, tmp_path)
    badge = judge("scrambled", ensure_quality(spec, "scrambled", tmp_path))
    assert badge.state == "failed"
    assert "image cosine 0.0" in badge.sentence or "image cosine -0.0" in badge.sentence
    with pytest.raises(QualityGateError, match="image cosine"):
        load_engine(spec, "scrambled", EngineOptions(cache_dir=tmp_path))


@pytest.mark.model
def test_a_damaged_quantized_weight_fails_the_gate_and_the_badge_says_so(monkeypatch, tmp_path):
    """The damage is as a quantizer with a bug makes it: the checksums are those of the damaged files."""
    spec, engine = resolve_model("siglit-mini"), "onnx-int8-dynamic"
    cache_dir = store.default_cache_dir()
    source, built = ensure_exported(spec, cache_dir), ensure_quantized(spec, engine, cache_dir)
    for folder in (source, built):
        shutil.copytree(folder, tmp_path / folder.name)
    keep_reference(spec, tmp_path)
    _damage(tmp_path / built.name)
    damaged = ensure_quality(spec, engine, tmp_path)
    badge = judge(engine, damaged)
    assert badge.state == "failed"
    assert f"{damaged.image_cosine_mean:.4f} (0.995 needed)" in badge.sentence
    with pytest.raises(QualityGateError, match=r"failed its quality gate.*image cosine"):
        load_engine(spec, engine, EngineOptions(cache_dir=tmp_path))
    assert judge(engine, ensure_quality(spec, engine, cache_dir)).state == "passed"  # the whole one


def _damage(folder):
    """Turn the largest 8-bit weight of the image tower around, and write checksums that fit."""
    path = max(folder.glob("*image*.onnx"), key=lambda each: each.stat().st_size)
    model = onnx.load(path)
    weights = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8]
    largest = max(weights, key=lambda each: np.prod(each.dims))
    values = numpy_helper.to_array(largest)
    largest.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[::-1]), largest.name))
    onnx.save(model, path)
    store._write_json(folder / store._CHECKSUMS, store._checksums(folder))
