"""The evaluate command: datasets and names in, a table and one line of JSON out, sentences on stderr."""

import json
from functools import partial

import pytest
from PIL import Image

from app.cli import evaluate, records
from engines.errors import UnknownModelError
from engines.loading import EngineKey
from tests.fakes import FIGURES, FakePool, fake_spec
from use_cases.record_tables import render_record
from use_cases.results import read_record, validate_record, write_record


class KeyedPool(FakePool):
    async def key(self, model, engine=None):
        if model not in self.specs:
            raise UnknownModelError(f"No model {model!r}.")
        return EngineKey(model, engine or "fake")


@pytest.fixture(autouse=True)
def _fake_pool(monkeypatch):
    specs = {"siglit-mini": fake_spec("siglit-mini"), "lit-mini": fake_spec("lit-mini", "softmax")}
    monkeypatch.setattr(evaluate, "build_pool", lambda settings: KeyedPool(**specs))
    monkeypatch.setattr(evaluate, "default_models", lambda: ("siglit-mini", "lit-mini"))


@pytest.fixture
def table(tmp_path):
    rows = ["image,caption"]
    for colour, word in (("red", "red"), ("lime", "green"), ("blue", "blue")):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{word}.png")
        rows += [f"{word}.png,{word}", f"{word}.png,a {word} thing"]
    (tmp_path / "colours.csv").write_text("\n".join(rows))
    return tmp_path / "colours.csv"


def test_models_are_measured_side_by_side(table, capsys):
    assert evaluate.main(["retrieval", "--dataset", str(table)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("colours.csv: 3 images, 6 captions\n")
    lines = [line.split() for line in out.splitlines()]
    assert ["siglit-mini", "on", "fake", "100.0", "[100.0,", "100.0]"] in [line[:6] for line in lines]
    assert ["first", "-", "second", "0.0", "[0.0,", "0.0]"] in [line[:6] for line in lines]
    assert ["by", "chance", "33.3", "100.0", "100.0"] in lines
    record = json.loads(out.splitlines()[-1])
    validate_record(record)
    assert str(table.parent) not in out
    assert record["command"] == "python -m app.cli.evaluate retrieval --dataset colours.csv"
    first, second, difference = record["results"]
    assert (first["model"], second["model"]) == ("siglit-mini", "lit-mini")
    assert first["text_to_image"]["recall_at_1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert difference["minus"] == {"model": "lit-mini", "engine": "fake"}
    assert first["image_ms"] > 0


def test_a_record_is_kept_with_its_page(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(records, "write_record", partial(write_record, folder=tmp_path / "results"))
    arguments = ["retrieval", "--dataset", str(table), "--model", "siglit-mini", "--limit", "2", "--write"]
    assert evaluate.main(arguments) == 0
    (path,) = (tmp_path / "results").glob("retrieval-*.json")
    record = read_record(path)
    assert record["command"].endswith("--dataset colours.csv --model siglit-mini --limit 2 --write")
    page = path.with_suffix(".md").read_text("utf-8")
    assert page == render_record(record)
    assert "| `fake` | text -> image | 100.0 [100.0, 100.0] |" in page
    assert "2 images, 4 captions" in page


@pytest.mark.parametrize(
    "arguments", [["--model", "siglit-mini,lit-mini"], ["--model", "siglit-mini", "--model", "lit-mini"]]
)
def test_models_are_named_by_commas_or_several_times(table, capsys, arguments):
    assert evaluate.main(["retrieval", "--dataset", str(table), *arguments, "--engine", "a, b"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    models = [row["model"] for row in record["results"] if row["measurement"] == "retrieval"]
    assert models == ["siglit-mini"] * 2 + ["lit-mini"] * 2
    assert "--model siglit-mini,lit-mini --engine a,b" in record["command"]


def test_what_a_reader_should_know_is_said(table, capsys, monkeypatch):
    monkeypatch.setattr(FakePool, "quality", FIGURES)
    (table.parent / "red.png").write_bytes(b"no image")
    with table.open("a") as file:
        file.write("\nblue.png," + "blue " * 20)
    assert evaluate.main(["retrieval", "--dataset", str(table), "--model", "siglit-mini"]) == 0
    out = capsys.readouterr().out
    assert "2 images, 5 captions" in out
    assert "1 image left out, with their captions:\n  red.png: 'red.png' is not a JPEG" in out
    assert "cosine to float32 0.9300 for images" in out
    assert "1 caption too long: only the beginning was read" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset", "nowhere"], "There is no file or folder 'nowhere'."),
        (["--model", "nothing"], "No model 'nothing'."),
        (["--model", "siglit-mini,nothing"], "No model 'nothing'."),
        (["--model", " , "], "Name at least one model."),
        (["--engine", ","], "Name at least one engine."),
        (["--images", "nowhere"], "There is no folder 'nowhere' for the images."),
        (["--split", "dev"], "only a Karpathy file"),
    ],
)
def test_what_cannot_be_used_ends_with_code_2_and_a_sentence(arguments, sentence, table, capsys):
    given = [] if "--dataset" in arguments else ["--dataset", str(table)]
    assert evaluate.main(["retrieval", *given, *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["captioning"], ["retrieval", "--limit", "0"]])
def test_arguments_that_make_no_sense_end_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["retrieval", "--help"])
    assert stop.value.code == 0
    assert "python -m app.cli.evaluate retrieval" in capsys.readouterr().out
