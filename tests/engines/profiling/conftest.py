"""Graphs of tiny models, exported and quantized once."""

import pytest

from engines.factory import resolve_model
from tests.engines.profiling.towers import export, quantize


@pytest.fixture(scope="session")
def siglip(tiny_siglip):
    return resolve_model(str(tiny_siglip))


@pytest.fixture(scope="session")
def siglip_graphs(siglip, tmp_path_factory):
    return export(siglip, tmp_path_factory.mktemp("graphs"))


@pytest.fixture(scope="session")
def siglip_int8_graphs(siglip_graphs, tmp_path_factory):
    return quantize(siglip_graphs, tmp_path_factory.mktemp("int8"))
