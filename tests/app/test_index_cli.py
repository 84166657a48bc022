"""python -m app.cli.index: a folder becomes an index, is searched, checked and exported."""

import errno
import json
import os
import zipfile

import pyarrow.parquet as pq
import pytest

from app.cli import index, index_commands
from tests.fakes import FakePool
from tests.use_cases.retrieval.pictures import RED, save_colours, save_image, stored_spec

MODELS = ("colours", "shapes")


class SpecPool(FakePool):
    """A fake pool that knows its models' facts without loading them."""

    async def spec(self, model):
        return self.specs[model]


@pytest.fixture(autouse=True)
def fake_pool(monkeypatch):
    specs = {"colours": stored_spec(), "shapes": stored_spec("shapes", score="softmax")}
    monkeypatch.setattr(index_commands, "build_pool", lambda settings: SpecPool(**specs))
    monkeypatch.setattr(index_commands, "default_models", lambda: MODELS)


@pytest.fixture
def folder(tmp_path):
    save_colours(tmp_path / "in")
    (tmp_path / "in" / "red.txt").write_text("red")
    return str(tmp_path / "in")


@pytest.fixture
def run(capsys):
    """Return a function that runs the command and returns its exit code, its output and its errors."""

    def command(*arguments):
        code = index.main([*map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_a_folder_is_built_searched_and_brought_up_to_date(run, folder, tmp_path):
    where = tmp_path / "index"
    code, out, _ = run("build", where, folder)
    assert (code, out.splitlines()[0][:8]) == (0, "3 added,")
    code, out, _ = run("search", where, "red", "--top-k", 1)
    assert code == 0
    assert "colours on fake, 3 of 3 images searched" in out
    assert out.splitlines()[-1].split() == ["1", "100.0%", "1.0000", "red.png", "(red)"]
    (tmp_path / "in" / "blue.png").unlink()
    save_image(tmp_path / "in" / "white.png", (255, 255, 255))
    code, out, _ = run("add", where, folder, "--remove-missing")
    assert out.startswith("1 added, 0 replaced, 2 unchanged, 1 removed, 0 unusable")


def test_json_is_one_line(run, folder, tmp_path):
    run("build", tmp_path / "index", folder)
    _, out, _ = run("search", tmp_path / "index", "red", "--json", "--model", "shapes")
    answer = json.loads(out)
    assert (answer["model"], answer["score_kind"], answer["total"]) == ("shapes", "cosine", 3)
    assert set(answer["hits"][0]) == {
        "rank", "score", "cosine", "id", "content_hash", "width", "height", "caption", "duplicate_of",
    }  # fmt: skip


def test_an_image_finds_images_and_captions(run, folder, tmp_path):
    run("build", tmp_path / "index", folder)
    picture = save_image(tmp_path / "query.png", RED)
    assert "red.png" in run("search", tmp_path / "index", "--image", picture, "--top-k", 1)[1]
    assert run("search", tmp_path / "index", "--image", picture, "--captions")[1].split()[-1] == "red"
    assert run("search", tmp_path / "index", "--like", "red.png", "--top-k", 1)[1].split()[-1] == "(red)"


@pytest.mark.parametrize("options", [["--not", "green"], ["--top-k", "1", "--model", "colours"]])
def test_the_text_may_come_after_options(run, folder, tmp_path, options):
    run("build", tmp_path / "index", folder)
    code, out, err = run("search", tmp_path / "index", "--json", *options, "red")
    assert (code, err) == (0, "")
    assert json.loads(out)["hits"][0]["id"].endswith("red.png")


def test_more_than_one_text_is_refused(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("search", "index", "--top-k", "1", "red", "green")
    assert stop.value.code == 2
    assert "unrecognized arguments: red green" in capsys.readouterr().err


def test_nothing_found_is_explained(run, folder, tmp_path):
    run("build", tmp_path / "index", folder)
    code, out, _ = run("search", tmp_path / "index", "red", "--below", "holiday/")
    assert (code, out.splitlines()[-1]) == (0, "None of the 3 images meets the filter; loosen it.")


def test_stats_verify_and_export(run, folder, tmp_path):
    where = tmp_path / "index"
    run("build", where, folder)
    facts = json.loads(run("stats", where)[1])["models"]
    assert {model: (each["images"], each["with_caption"]) for model, each in facts.items()} == {
        "colours": (3, 1),
        "shapes": (3, 1),
    }
    assert run("verify", where)[:2] == (
        0,
        "colours: 3 images, no problems\nshapes: 3 images, no problems\n",
    )
    for name in ("all.parquet", "all.jsonl", "all.csv"):
        code, out, _ = run("export", where, tmp_path / name, "--model", "colours")
        assert (code, out.split()[0]) == (0, "3")
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.num_rows == 3
    assert len(table["embedding"][0]) == 3
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == ["blue.png", "green.png", "red.png"]
    assert (tmp_path / "all.csv").read_text().count("\n") == 4


def test_verify_finds_what_is_wrong(run, folder, tmp_path):
    run("build", tmp_path / "index", folder, "--model", "colours")
    table = index_commands.ImageIndex(tmp_path / "index").tables()["colours"]
    table._table.update(where="id = 'red.png'", values={"duplicate_of": "gone", "thumbnail": b"no image"})
    table._table.update(where="id = 'blue.png'", values={"embedding": [2.0, 0.0, 0.0]})
    table._table.update(where="id = 'green.png'", values={"id": "blue.png"})
    code, out, _ = run("verify", tmp_path / "index")
    assert code == 1
    for problem in (
        "'gone', which is not there",
        "length 2.0000",
        "is there 2 times",
        "thumbnail of 'red.png'",
    ):
        assert problem in out


def test_unusable_files_are_named(run, folder, tmp_path):
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    code, out, _ = run("build", tmp_path / "index", folder)
    assert code == 0
    assert "1 unusable" in out
    assert "  broken.png: " in out


def test_folders_archives_and_files_are_added_together(run, folder, tmp_path):
    other = save_image(tmp_path / "other" / "white.png", (255, 255, 255)).parent
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(save_image(tmp_path / "black.png", (0, 0, 0)), "deep/black.png")
    files = [save_image(tmp_path / name, RED) for name in ("one.png", "two.png")]
    sources = [files[0], folder, other, tmp_path / "all.zip", files[1]]
    code, out, _ = run("build", tmp_path / "index", *sources, "--model", "colours")
    lines = out.splitlines()
    assert (code, lines[::2]) == (0, [folder, str(other), str(tmp_path / "all.zip"), "2 files"])
    assert [line.split(",")[0] for line in lines[1::2]] == [
        "  3 added",
        "  1 added",
        "  1 added",
        "  2 added",
    ]
    run("export", tmp_path / "index", tmp_path / "all.jsonl")
    found = {line["id"] for line in map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())}
    assert found == {"red.png", "green.png", "blue.png", "white.png", "deep/black.png", "one.png", "two.png"}
    (other / "white.png").rename(tmp_path / "gone.png")
    save_image(other / "new.png", (255, 255, 0))
    (tmp_path / "in" / "red.png").unlink()
    _, out, _ = run("add", tmp_path / "index", *sources, "--remove-missing")
    assert ["1 removed" in line for line in out.splitlines()[1::2]] == [True, True, False, False]


def test_a_misspelt_name_among_others_stops_everything_before_a_model_is_loaded(
    run, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(index_commands, "build_pool", None)  # a call would fail
    (tmp_path / "empty").mkdir()
    for name, sentence in (("misspelt.png", "There is no file or folder"), ("empty", "has nothing in it")):
        code, out, err = run("build", tmp_path / "index", folder, tmp_path / name)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert sentence in err
    assert not (tmp_path / "index").exists()


def test_a_file_that_is_gone_from_a_closed_folder_is_not_removed(run, folder, tmp_path, monkeypatch):
    closed = save_image(tmp_path / "in" / "sub" / "white.png", (255, 255, 255)).parent
    run("build", tmp_path / "index", folder, "--model", "colours")
    scandir = os.scandir

    def scan(path):
        if str(path) == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    (tmp_path / "in" / "red.png").unlink()
    code, out, _ = run("add", tmp_path / "index", folder, "--remove-missing")
    assert code == 0
    assert "0 removed, 1 unusable" in out
    assert "  sub/: The folder cannot be read (Permission denied), so nothing counts as missing." in out


def test_building_twice_needs_a_word(run, folder, tmp_path):
    run("build", tmp_path / "index", folder)
    code, _, err = run("build", tmp_path / "index", folder)
    assert (code, "--rebuild" in err) == (2, True)
    assert run("build", tmp_path / "index", folder, "--rebuild")[1].startswith("3 added")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "index", "nothing"], "There is no file or folder 'nothing'"),
        (["add", "index", "~nobody-of-that-name/x"], "There is no file or folder '~nobody-of-that-name/x'"),
        (["add", "index", "in/red.txt"], "'red.txt' is neither an image nor a zip archive nor a folder"),
        (["add", "index", "in/red.png", "--remove-missing"], "--remove-missing needs a folder or an archive"),
        (["search", "nothing", "red"], "There is no index at 'nothing'"),
        (["search", "index", ""], "nothing to look for"),
        (["search", "index", "a\udcff"], r"The text is not valid UTF-8 at 'a\udcff'"),
        (["search", "index", "red", "--not", "\udcff"], "The text of --not is not valid UTF-8"),
        (["search", "index", "--like", "\udcff"], "The id of --like is not valid UTF-8"),
        (["search", "index", "red", "--below", "\udcff"], "The text of --below is not valid UTF-8"),
        (["search", "index", "red", "--caption-contains", "\udcff"], "--caption-contains is not valid UTF-8"),
        (["search", "index", "red", "--model", "shapes"], "no embeddings of shapes, but of colours"),
        (["search", "index", "red", "--top-k", "0"], "top_k must be at least 1"),
        (["search", "index", "--image", "nothing.png"], "nothing.png"),
        (["search", "index", "--captions"], "--captions needs --image"),
        (["stats", "nothing"], "There is no index"),
        (["stats", "index", "--model", "other"], "no embeddings of 'other'"),
        (["export", "index", "all.txt"], "must end in .parquet, .jsonl, .csv"),
        (["export", "index", "in/red.txt"], "must end in"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_exit_code_2(
    run, folder, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    run("build", "index", folder, "--model", "colours")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_file_is_not_overwritten_by_an_export(run, folder, tmp_path):
    run("build", tmp_path / "index", folder, "--model", "colours")
    (tmp_path / "all.csv").write_text("mine")
    assert "exists" in run("export", tmp_path / "index", tmp_path / "all.csv")[2]
    assert (tmp_path / "all.csv").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments", [["build", "index", "in"], ["search", "index", "red"], ["stats", "index"]]
)
def test_ctrl_c_says_how_it_goes_on_where_something_was_kept(run, monkeypatch, arguments):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(index_commands, "ImageIndex", interrupted)
    monkeypatch.setattr(index_commands, "_sources", lambda names: [])
    sentence = "\nstopped; 'add' goes on where this was\n" if "build" in arguments else "Interrupted.\n"
    assert run(*arguments) == (130, "", sentence)
