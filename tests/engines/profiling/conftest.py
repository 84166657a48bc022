"""Graphs of tiny models, exported and quantized once."""

import pytest

from engines.factory import resolve_model
from engines.onnx.artifacts import ensure_exported
from tests.builders import build_here
from tests.engines.profiling.towers import quantize


@pytest.fixture(scope="session")
def siglip(tiny_siglip):
    return resolve_model(str(tiny_siglip))


@pytest.fixture(scope="session")
def siglip_graphs(siglip, cache_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engines.onnx.artifacts.run_builder", build_here)
        return ensure_exported(siglip, cache_dir)


@pytest.fixture(scope="session")
def siglip_int8_graphs(siglip_graphs, tmp_path_factory):
    return quantize(siglip_graphs, tmp_path_factory.mktemp("int8"))
