"""The plot shows every block of every engine, and kinds of blocks that add up to each call."""

import pytest

from tests.use_cases.profiling.test_run import run
from use_cases.profiling.plot import draw_profile, kind_of, profile_figure


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ("block 11 attention", "attention"),
        ("block 0 MLP", "MLP"),
        ("net 1 block 20", "blocks"),
        ("block 2.1", "blocks"),
        ("net 0 stem", "stem"),
        ("pooling head", "pooling head"),
    ],
)
def test_a_block_s_kind_is_what_it_shares_with_others(block, kind):
    assert kind_of(block) == kind


def test_engines_stand_side_by_side():
    profile = run("onnx-fp32", "torch-fp32")
    traces = profile_figure(profile)["data"]
    stacked = [trace for trace in traces if trace["legendgroup"] == "kinds"]
    assert [sum(trace["x"][index] for trace in stacked) for index in (0, 1)] == [10.0, 20.0]
    bars = [trace for trace in traces if trace["legendgroup"] == "engines"]
    assert [trace["name"] for trace in bars] == ["onnx-fp32", "torch-fp32"]
    assert all(trace["y"] == profile.block_names() for trace in bars)
    page = draw_profile(profile)
    assert page.startswith("<!doctype html>")
    assert "block 0 attention" in page
