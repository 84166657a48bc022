"""The evaluate command: datasets and names in, a table and one line of JSON out, sentences on stderr."""

import gc
import json
import re
import sys
import weakref
from functools import partial

import pytest
from PIL import Image

from app.cli import evaluate, evaluate_labelled, evaluate_subjects, evaluate_zero_shot, records
from engines.errors import InferenceError, QualityGateError, UnknownModelError
from engines.loading import EngineKey
from tests.fakes import FIGURES, FakePool
from tests.use_cases.labelled.colours import colour_spec, write_colours
from use_cases.labelled import embedding, hub_datasets
from use_cases.record_tables import render_record
from use_cases.results import read_record, validate_record, write_record


class KeyedPool(FakePool):
    async def key(self, model, engine=None):
        if model not in self.specs:
            raise UnknownModelError(f"No model {model!r}.")
        return EngineKey(model, engine or "fake")


@pytest.fixture(autouse=True)
def _fake_pool(monkeypatch, tmp_path):
    specs = {"siglit-mini": colour_spec("siglit-mini"), "lit-mini": colour_spec("lit-mini", "softmax")}
    specs["google/siglip2-base-patch16-224"] = colour_spec("google/siglip2-base-patch16-224")
    monkeypatch.setattr(evaluate_subjects, "build_pool", lambda settings: KeyedPool(**specs))
    monkeypatch.setattr(evaluate_subjects, "default_models", lambda: ("siglit-mini", "lit-mini"))
    monkeypatch.setenv("SIGLIP_CACHE_DIR", str(tmp_path / "cache"))


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
    difference = ["first", "-", "lit-mini", "on", "fake", "0.0", "[0.0,", "0.0]"]
    assert difference in [line[:8] for line in lines]
    assert out.count("  no significant difference: R@1, R@5, R@10, median rank, MRR\n") == 2
    assert "In brackets: 95% percentile bootstrap, 1000 resamples of the images with their captions." in out
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
    assert len(record["settings"]["dataset_sha256"]) == 64
    assert (record["settings"]["limit"], record["settings"]["split"]) == (None, None)


@pytest.mark.parametrize("task", ["retrieval", "zero-shot", "calibration"])
def test_items_go_into_an_engine_one_by_one_so_that_results_repeat(task, capsys, monkeypatch, table, colours):
    sizes = []

    class SizedPool(KeyedPool):
        async def get(self, model, engine=None):
            sizes.append(self.max_batch_size)
            return await super().get(model, engine)

    def build(settings):
        pool = SizedPool(**{"siglit-mini": colour_spec("siglit-mini")})
        pool.max_batch_size = settings.max_batch_size
        return pool

    monkeypatch.setattr(evaluate_subjects, "build_pool", build)
    dataset = table if task == "retrieval" else colours
    assert evaluate.main([task, "--dataset", str(dataset), "--models", "siglit-mini"]) == 0
    assert sizes == [1]


@pytest.mark.parametrize("task", ["retrieval", "zero-shot"])
def test_an_engine_is_gone_when_the_next_one_is_loaded(task, capsys, monkeypatch, table, colours):
    engines, still_there = [], []

    class WatchedPool(KeyedPool):
        async def get(self, model, engine=None):
            gc.collect()
            still_there.append(sum(engine() is not None for engine in engines))
            pooled = await super().get(model, engine)
            engines.append(weakref.ref(pooled.engine.engine))
            return pooled

    specs = {name: colour_spec(name) for name in ("siglit-mini", "lit-mini")}
    monkeypatch.setattr(evaluate_subjects, "build_pool", lambda settings: WatchedPool(**specs))
    dataset = table if task == "retrieval" else colours
    assert evaluate.main([task, "--dataset", str(dataset), "--engines", "a,b"]) == 0
    assert still_there == [0, 0, 0, 0]


def test_models_in_folders_of_the_same_name_are_told_apart(table, tmp_path, capsys, monkeypatch):
    folders = [tmp_path / part / "finetuned" for part in ("one", "two")]
    specs = {}
    for folder, family in zip(folders, ("siglip", "clip"), strict=True):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(family)
        specs[str(folder)] = colour_spec("finetuned", folder=folder, family=family)
    specs["siglit-mini"] = colour_spec()
    monkeypatch.setattr(evaluate_subjects, "build_pool", lambda settings: KeyedPool(**specs))
    arguments = ["retrieval", "--dataset", str(table), "--model", f"siglit-mini,{folders[0]},{folders[1]}"]
    assert evaluate.main(arguments) == 0
    out = capsys.readouterr().out
    plain, first, second, *differences = json.loads(out.splitlines()[-1])["results"]
    assert plain["model"] == "siglit-mini"
    assert re.fullmatch("finetuned [0-9a-f]{8}", first["model"])
    assert re.fullmatch("finetuned [0-9a-f]{8}", second["model"])
    assert first["model"] != second["model"]
    assert [each["minus"]["model"] for each in differences] == [first["model"], second["model"]]
    assert str(tmp_path) not in out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_no_text_has_a_record_all_the_same(table, capsys, monkeypatch, tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    for path in tmp_path.glob("*.png"):
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / path.name).with_suffix(".txt").write_text(path.stem)
    monkeypatch.setattr(records, "write_record", partial(write_record, folder=tmp_path / "results"))
    arguments = ["retrieval", "--dataset", str(folder), "--model", "siglit-mini", "--write"]
    assert evaluate.main(arguments) == 0
    (path,) = (tmp_path / "results").glob("retrieval-*.json")
    assert read_record(path)["settings"]["dataset"] == r"caf\udce9"
    assert r"caf\udce9" in path.with_suffix(".md").read_text("utf-8")


def test_the_folder_one_is_in_has_a_name(table, capsys, monkeypatch):
    (table.parent / "red.txt").write_text("red")
    monkeypatch.chdir(table.parent)
    assert evaluate.main(["retrieval", "--dataset", "."]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["settings"]["dataset"] == table.parent.name
    assert f"--dataset {table.parent.name}" in record["command"]


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
    "arguments",
    [
        ["--model", "siglit-mini,lit-mini", "--engine", "a, b"],
        ["--model", "siglit-mini", "--model", "lit-mini", "--engines", "a", "--engine", "b"],
        ["--models", "siglit-mini,lit-mini", "--engines", "a,b"],
    ],
)
def test_models_are_named_by_commas_or_several_times(table, capsys, arguments):
    assert evaluate.main(["retrieval", "--dataset", str(table), *arguments]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    models = [row["model"] for row in record["results"] if row["measurement"] == "retrieval"]
    assert models == ["siglit-mini"] * 2 + ["lit-mini"] * 2
    assert "--model siglit-mini,lit-mini --engine a,b" in record["command"]


def test_a_command_that_measures_engines_which_fail_the_gate_says_how(table, capsys, monkeypatch):
    monkeypatch.setenv("SIGLIP_GATED", "false")
    assert evaluate.main(["retrieval", "--dataset", str(table)]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["command"].startswith("SIGLIP_GATED=false python -m app.cli.evaluate retrieval")


@pytest.mark.parametrize("task", ["retrieval", "zero-shot", "calibration"])
def test_an_engine_that_cannot_be_loaded_leaves_the_others_alone(task, table, colours, capsys, monkeypatch):
    async def get(pool, model, engine=None):
        if (model, engine) == ("siglit-mini", "bad"):
            raise QualityGateError("bad failed its quality gate.")
        return await FakePool.get(pool, model, engine)

    monkeypatch.setattr(KeyedPool, "get", get)
    dataset = str(table if task == "retrieval" else colours)
    arguments = [task, "--dataset", dataset, "--model", "siglit-mini,lit-mini", "--engine", "good,bad"]
    assert evaluate.main(arguments) == 1
    out, err = capsys.readouterr()
    assert err == "error: siglit-mini on bad is left out: bad failed its quality gate.\n"
    record = json.loads(out.splitlines()[-1])
    validate_record(record)
    models = [row["model"] for row in record["results"] if "minus" not in row and "model" in row]
    assert set(models) == {"siglit-mini", "lit-mini"}
    failed = {"model": "siglit-mini", "engine": "bad", "reason": "bad failed its quality gate."}
    assert record["settings"]["failed"] == [failed]
    assert evaluate.main([*arguments[:3], "--model", "siglit-mini", "--engine", "bad"]) == 2


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


@pytest.mark.parametrize(
    "arguments", [[], ["captioning"], ["retrieval", "--limit", "0"], ["zero-shot", "--split", "dev"]]
)
def test_arguments_that_make_no_sense_end_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("task", ["retrieval", "zero-shot", "calibration"])
def test_help_names_the_command(task, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main([task, "--help"])
    assert stop.value.code == 0
    assert f"python -m app.cli.evaluate {task}" in capsys.readouterr().out


@pytest.fixture
def colours(tmp_path):
    return write_colours(tmp_path / "colours", each=4)


def test_models_classify_side_by_side(colours, capsys):
    assert evaluate.main(["zero-shot", "--dataset", str(colours)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("colours: 12 images, 3 labels\n")
    lines = [line.split() for line in out.splitlines()]
    assert lines.count(["siglit-mini", "on", "fake", *["100.0", "[100.0,", "100.0]"] * 2]) == 2
    assert out.count("no significant difference: top-1, recall") == 2
    record = json.loads(out.splitlines()[-1])
    validate_record(record)
    assert str(colours.parent) not in out
    assert record["kind"] == "zero-shot"
    assert record["command"] == "python -m app.cli.evaluate zero-shot --dataset colours"
    assert len(record["settings"]["dataset_sha256"]) == 64
    first, second, difference = record["results"]
    assert (first["score"], second["score"]) == ("sigmoid", "softmax")
    assert first["ensemble"]["top1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert first["provenance"]["engine_identity"] == "fake"
    assert len(first["provenance"]["model_sha256"]) == 64
    assert difference["minus"] == {"model": "lit-mini", "engine": "fake"}


def test_calibration_is_measured_by_the_model_s_own_scores(colours, capsys):
    assert evaluate.main(["calibration", "--dataset", str(colours)]) == 0
    out = capsys.readouterr().out
    record = json.loads(out.splitlines()[-1])
    validate_record(record)
    assert [(row["model"], row["measurement"]) for row in record["results"]] == [
        ("siglit-mini", "sigmoid_pairs"),
        ("siglit-mini", "softmax_top1"),
        ("siglit-mini", "none_of_these"),
        ("lit-mini", "softmax_top1"),
    ]
    assert "15 of equal width" in record["settings"]["bins"]
    assert record["settings"]["templates"] == []
    assert f"In brackets: {record['settings']['intervals']}." in out
    assert "basic bootstrap intervals of ECE" in out
    assert 'says "none of these"' in out
    assert "siglit-mini on fake, softmax, the best label: probability, predictions, came true %" in out


@pytest.mark.parametrize("task", ["zero-shot", "calibration"])
def test_records_of_labelled_tasks_are_kept_with_their_pages(task, colours, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(records, "write_record", partial(write_record, folder=tmp_path / "results"))
    arguments = ["--models", "siglit-mini", "--limit", "9", "--template", "{label}", "--write"]
    assert evaluate.main([task, "--dataset", str(colours), *arguments]) == 0
    (path,) = (tmp_path / "results").glob(f"{task}-*.json")
    record = read_record(path)
    assert record["command"].endswith("--model siglit-mini --template '{label}' --limit 9 --write")
    assert record["settings"]["num_images"] == 9
    assert record["results"][0]["templates"] == record["settings"]["templates"] == ["{label}"]
    assert path.with_suffix(".md").read_text("utf-8") == render_record(record)


def test_an_equal_run_says_what_it_reuses(colours, capsys):
    arguments = ["zero-shot", "--dataset", str(colours), "--model", "siglit-mini"]
    for extra, sentence in (
        ([], "ms an image, with reading it"),
        ([], "  12 images and 6 prompts from an earlier run; --fresh embeds them again"),
        (["--fresh"], "ms an image, with reading it"),
    ):
        assert evaluate.main([*arguments, *extra]) == 0
        out = capsys.readouterr().out
        assert sentence in out
        assert ("from an earlier run" in out) == sentence.startswith("  12")


def test_a_run_that_is_interrupted_says_how_it_goes_on(colours, capsys, monkeypatch):
    whole = embedding._embed_chunk
    calls = []

    async def interrupted(engine, images):
        calls.append(images)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return await whole(engine, images)

    monkeypatch.setattr(embedding, "_IMAGE_CHUNK", 5)
    monkeypatch.setattr(embedding, "_embed_chunk", interrupted)
    arguments = ["zero-shot", "--dataset", str(colours), "--model", "siglit-mini"]
    assert evaluate.main(arguments) == 130
    assert capsys.readouterr().err == "Interrupted; the same command goes on where this one was.\n"
    assert evaluate.main(arguments) == 0
    assert "5 images and 6 prompts from an earlier run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "step"), [(evaluate_labelled, "hash_set"), (evaluate_zero_shot, "measure_accuracy")]
)
@pytest.mark.parametrize(
    ("extra", "command"),
    [([], "the same command"), (["--fresh"], "the same command without --fresh")],
)
def test_every_step_can_be_interrupted(module, step, extra, command, colours, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, step, interrupted)
    assert evaluate.main(["zero-shot", "--dataset", str(colours), "--model", "siglit-mini", *extra]) == 130
    assert capsys.readouterr() == ("", f"Interrupted; {command} goes on where this one was.\n")


def test_what_is_left_out_and_what_was_published_is_said(colours, capsys, monkeypatch):
    monkeypatch.setattr(FakePool, "quality", FIGURES)
    (colours / "red" / "broken.png").write_bytes(b"no image")
    (colours / "stray.png").write_bytes(b"anything")
    arguments = ["--dataset", str(colours), "--model", "google/siglip2-base-patch16-224"]
    assert evaluate.main(["zero-shot", *arguments]) == 0
    out = capsys.readouterr().out
    assert "colours: 12 images, 3 labels" in out
    assert "2 images left out:\n  stray.png: It has no label.\n  red/broken.png: 'broken.png' is not a" in out
    assert "cosine to float32 0.9300 for images" in out
    assert "published: google/siglip2-base-patch16-224, top-1 on ImageNet-1k 78.2 % (big_vision" in out
    record = json.loads(out.splitlines()[-1])
    assert record["settings"]["published"][0]["top1"] == 0.782
    assert list(record["settings"]["left_out"]) == ["stray.png", "red/broken.png"]


@pytest.mark.parametrize("task", ["zero-shot", "calibration"])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset", "nowhere"], "There is no file or folder 'nowhere'."),
        (["--model", "nothing"], "No model 'nothing'."),
        (["--engines", ","], "Name at least one engine."),
        (["--template", "a photo"], "must contain {label} once"),
        (["--images", "nowhere"], "There is no folder 'nowhere' for the images."),
        (["--classnames", "nowhere"], "'nowhere' cannot be read (No such file or directory)."),
        (["--dataset", "hf:owner/name"], "needs the package datasets"),
    ],
)
def test_labelled_tasks_say_in_a_sentence_what_cannot_be_used(
    task, arguments, sentence, colours, capsys, monkeypatch
):
    monkeypatch.setattr(hub_datasets, "find_spec", lambda name: None)
    given = [] if "--dataset" in arguments else ["--dataset", str(colours)]
    assert evaluate.main([task, *given, *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_an_engine_that_fails_ends_with_code_1(colours, capsys, monkeypatch):
    async def fails(engine, images):
        raise InferenceError("The engine failed on this batch.")

    monkeypatch.setattr(embedding, "_embed_chunk", fails)
    assert evaluate.main(["zero-shot", "--dataset", str(colours)]) == 1
    left_out, error = capsys.readouterr().err.splitlines()
    assert left_out == "error: siglit-mini on fake is left out: The engine failed on this batch."
    assert error == "error: The engine failed on this batch."
