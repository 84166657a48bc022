"""The default engine follows the processor, the memory and what was measured on this machine."""

import pytest

from engines import defaults
from engines.defaults import EXACT, FAST, default_engine
from engines.machine.cpu import Cpu
from engines.quality import Quality
from tests.fakes import fake_spec


def cpu(*instructions, memory_bytes=2**34):
    return Cpu(
        vendor="AMD", model="EPYC", architecture="x86_64", instructions=frozenset(instructions), cores=2.0,
        memory_bytes=memory_bytes,
    )  # fmt: skip


def quality(cosine):
    return Quality(
        image_cosine_mean=cosine, image_cosine_min=cosine, text_cosine_mean=cosine, text_cosine_min=cosine,
        top1_agreement=1.0, num_images=32, num_texts=66,
    )  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    return fake_spec("a/b", family="siglip", folder=tmp_path)


@pytest.mark.parametrize(
    ("machine", "measured", "name", "why"),
    [
        (cpu("avx2"), None, EXACT, "python -m app.cli.build a/b --engine onnx-int8-dynamic"),
        (cpu("avx2"), quality(0.9995), FAST, "passed its quality gate"),
        (cpu("arm_dotprod"), quality(0.9995), FAST, "passed its quality gate"),
        (cpu("avx2"), quality(0.9), EXACT, "failed its quality gate"),
        (cpu(), quality(0.9995), EXACT, "no fast 8-bit arithmetic"),
        (cpu("avx2", memory_bytes=1500), None, FAST, "too little of this machine's memory"),
    ],
)
def test_the_default_follows_the_machine_and_what_was_measured(
    checkpoint, monkeypatch, tmp_path, machine, measured, name, why
):
    monkeypatch.setattr(defaults, "read_quality", lambda spec, engine, cache_dir: measured)
    chosen = default_engine(checkpoint, machine, tmp_path)
    assert chosen.name == name
    assert why in chosen.why


def test_the_bundled_pair_stays_exact(tmp_path):
    assert default_engine(fake_spec(), cpu("avx2"), tmp_path).name == EXACT
