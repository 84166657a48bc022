"""The gate passes what is close to float32, names what falls short, and a broken engine is refused."""

import numpy as np
import pytest

from engines import factory, quality
from engines.base import normalize
from engines.errors import BackendUnavailableError, QualityGateError
from engines.factory import EngineOptions, load_engine
from engines.quality import GATE_8_BIT, Quality, compare_embeddings
from tests.fakes import FakeEngine, fake_spec

GOOD = Quality(
    image_cosine_mean=0.9995, image_cosine_min=0.999, text_cosine_mean=0.9991, text_cosine_min=0.998,
    top1_agreement=1.0, num_images=32, num_texts=66,
)  # fmt: skip


def rows(seed, count):
    return normalize(np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32))


def test_an_engine_equal_to_the_reference_is_perfect():
    images, texts = rows(0, 8), rows(1, 12)
    result = compare_embeddings(images, texts, images, texts)
    assert result.image_cosine_min == pytest.approx(1)
    assert result.top1_agreement == 1
    assert GATE_8_BIT.failures(result) == []


def test_swapped_images_cost_top_1_agreement_in_both_directions():
    images, texts = rows(0, 8), rows(0, 8)  # each caption lies on its image
    swapped = images[[1, 0, *range(2, 8)]]
    result = compare_embeddings(swapped, texts, images, texts)
    assert result.top1_agreement == pytest.approx(12 / 16)
    assert len(GATE_8_BIT.failures(result)) == 2  # image cosine and agreement


def test_each_figure_that_falls_short_is_named():
    bad = Quality(
        image_cosine_mean=0.9, image_cosine_min=0.8, text_cosine_mean=float("nan"), text_cosine_min=0.9,
        top1_agreement=0.5, num_images=32, num_texts=66,
    )  # fmt: skip
    assert GATE_8_BIT.failures(GOOD) == []
    assert [failure.split()[0] for failure in GATE_8_BIT.failures(bad)] == ["image", "text", "top-1"]


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(quality, "_facts", lambda *_: {"engine": "any"})
    with pytest.raises(BackendUnavailableError, match=r"Cannot keep built files in .*SIGLIP_CACHE_DIR"):
        quality.ensure_quality(fake_spec(), "onnx-int4", tmp_path / "file")


@pytest.mark.parametrize(("measured", "refused"), [(0.9995, False), (0.93, True)])
def test_an_engine_that_fails_its_gate_is_refused_unless_forced(monkeypatch, measured, refused):
    entry = factory._EngineEntry(lambda spec, options: FakeEngine(spec), gate=GATE_8_BIT)
    monkeypatch.setitem(factory.ENGINES, "broken", entry)
    figures = Quality(
        **{name: getattr(GOOD, name) for name in GOOD.__slots__} | {"image_cosine_mean": measured}
    )
    monkeypatch.setattr(factory, "ensure_quality", lambda *_: figures)
    if not refused:
        assert load_engine(fake_spec(), "broken").spec.name == "colours"
        return
    with pytest.raises(QualityGateError, match=r"image cosine 0\.9300 \(0\.995 needed\).*SIGLIP_GATED"):
        load_engine(fake_spec(), "broken")
    assert load_engine(fake_spec(), "broken", EngineOptions(gated=False)).name == "fake"


def test_figures_are_measured_once_and_read_back(monkeypatch, tmp_path, tiny_clip):
    from engines.factory import resolve_model

    spec = resolve_model(str(tiny_clip))
    built = []

    def measure(module, model, engine, folder, reference, cache_dir):
        built.append(engine)
        quality._measure(model, engine, quality.Path(folder), reference, quality.Path(cache_dir))

    monkeypatch.setattr(quality, "REFERENCE_ENGINE", "torch-fp32")
    monkeypatch.setattr(quality, "run_builder", measure)
    assert quality.read_quality(spec, "torch-fp32", tmp_path) is None
    first = quality.ensure_quality(spec, "torch-fp32", tmp_path)
    assert first.image_cosine_min == pytest.approx(1, abs=1e-5)
    assert quality.ensure_quality(spec, "torch-fp32", tmp_path) == first
    assert quality.read_quality(spec, "torch-fp32", tmp_path) == first
    assert built == ["torch-fp32", "torch-fp32"]  # the reference, then the engine
