"""The sensitivity command ranks a tiny model's blocks, draws them, and refuses what it cannot examine."""

import json

import pytest

from app.cli import sensitivity
from tests.builders import build_here
from tests.checkpoints import build_tiny_clip


@pytest.fixture(autouse=True)
def _cache(monkeypatch, cache_dir):
    monkeypatch.setenv("SIGLIP_CACHE_DIR", str(cache_dir))


def test_blocks_are_ranked_and_drawn(build_once, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("engines.onnx.artifacts.run_builder", build_here)
    plot = tmp_path / "plot.html"
    model = str(build_once(build_tiny_clip, "clip"))
    assert sensitivity.main([model, "--json", "--plot", str(plot)]) == 0
    towers = json.loads(capsys.readouterr().out)["towers"]
    assert set(towers) == {"image", "text"}
    for rows in towers.values():
        cosines = [row["cosine_mean"] for row in rows]
        assert cosines == sorted(cosines)
        assert all(0.5 < cosine <= 1.00001 for cosine in cosines)
    assert "vision_model.encoder.layers.0" in plot.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["siglit-mini", "--engine", "torch-fp32"], "torch-fp32"),
        (["nothing/here"], "Cannot download 'nothing/here'"),
    ],
)
def test_what_cannot_be_examined_gets_a_sentence(arguments, sentence, capsys):
    assert sensitivity.main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_plot_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sensitivity, "ensure_block_losses", None)  # a call would fail
    assert sensitivity.main(["siglit-mini", "--plot", str(tmp_path / "nothing" / "plot.html")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: Cannot write ")


def test_the_table_is_there_even_when_drawing_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sensitivity, "ensure_block_losses", lambda *_: ())
    monkeypatch.setattr(sensitivity, "block_rows", lambda: {"image": []})
    monkeypatch.setattr(sensitivity, "draw_blocks", None)  # a call fails
    with pytest.raises(TypeError):
        sensitivity.main(["siglit-mini", "--plot", str(tmp_path / "plot.html")])
    assert "each block quantized alone" in capsys.readouterr().out
