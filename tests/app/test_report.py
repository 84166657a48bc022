"""The report command: writes, checks, and refuses damaged records with a sentence."""

import json
import shutil

import pytest

from app.cli import report
from use_cases.results import RESULTS_DIR, record_paths

README = RESULTS_DIR.parent / "README.md"


def copy_records(folder):
    """Put the records and README.md into a folder; return where the records are."""
    results = folder / "comparison_results"
    results.mkdir()
    for path in record_paths():
        (results / path.name).write_bytes(path.read_bytes())
    (folder / "README.md").write_bytes(README.read_bytes())
    return results


@pytest.fixture
def results(tmp_path):
    return copy_records(tmp_path)


@pytest.fixture(scope="module")
def reported_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    assert run(copy_records(folder)) == 0
    return folder


@pytest.fixture
def reported(reported_once, tmp_path):
    """Return records whose report is up to date."""
    shutil.copytree(reported_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "comparison_results"


def run(results, *arguments):
    return report.main(arguments, results, results.parent / "README.md")


def test_it_writes_once_and_then_finds_everything_up_to_date(results, capsys):
    assert run(results) == 0
    assert "README.md" in capsys.readouterr().out.splitlines()
    assert (results / "plots").is_dir()
    assert run(results) == 0
    assert capsys.readouterr().out == "Nothing changed.\n"
    assert run(results, "--check") == 0
    assert capsys.readouterr().out == "Everything is up to date.\n"


def test_a_check_prints_what_is_out_of_date_and_writes_nothing(reported, capsys):
    readme = reported.parent / "README.md"
    edited = readme.read_text("utf-8").replace("| `onnx-int4` | 213 (1.22x)", "| `onnx-int4` | 113 (2.22x)")
    readme.write_text(edited, "utf-8")
    capsys.readouterr()
    assert run(reported, "--check") == 1
    out = capsys.readouterr().out
    assert "-| `onnx-int4` | 113 (2.22x)" in out
    assert "+| `onnx-int4` | 213 (1.22x)" in out
    assert readme.read_text("utf-8") == edited


def test_a_record_that_was_never_reported_is_out_of_date(reported, capsys):
    path = record_paths(reported)[0]
    newer = json.loads(path.read_text("utf-8")) | {"created_utc": "2099-01-01T00:00:00Z"}
    (reported / f"{path.stem}-new.json").write_text(json.dumps(newer))
    capsys.readouterr()
    assert run(reported, "--check") == 1
    assert f"{path.stem}-new.md from the records" in capsys.readouterr().out


def cut(text):
    return text[: len(text) // 2]


def without_rows_numbers(text):
    record = json.loads(text)
    for row in record["results"]:
        row["times_plain"] = {}
    return json.dumps(record)


def infinite(text):
    return text.replace('"threads": 2', '"threads": Infinity')


@pytest.mark.parametrize("damage", [cut, without_rows_numbers, infinite])
def test_a_damaged_record_ends_with_code_2_and_one_sentence(results, capsys, damage):
    path = next(path for path in record_paths(results) if path.name.startswith("towers"))
    path.write_text(damage(path.read_text("utf-8")))
    assert run(results) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path.name}")
    assert error.count("\n") == 1
    assert not (results / "README.md").exists()


def without_a_size(text):
    record = json.loads(text)
    record["settings"]["num_images"] = "x"
    return json.dumps(record)


def nested(text):
    return "[" * 100_000


@pytest.mark.parametrize(
    ("kind", "damage"), [("zero-shot", without_a_size), ("retrieval", without_a_size), ("towers", nested)]
)
@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_record_without_a_title_or_end_is_named(results, capsys, kind, damage, arguments):
    path = next(path for path in record_paths(results) if path.name.startswith(kind))
    path.write_text(damage(path.read_text("utf-8")))
    assert run(results, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path.name}")
    assert error.count("\n") == 1


def keep_comparisons(path):
    record = json.loads(path.read_text("utf-8"))
    record["results"] = [row for row in record["results"] if row["measurement"] != "load"]
    path.write_text(json.dumps(record))


def test_a_load_record_of_comparisons_alone_takes_no_whole_one_s_place(reported, capsys):
    path = max(path for path in record_paths(reported) if path.name.startswith("load"))
    copy = reported / f"{path.stem}-newer.json"
    copy.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"created_utc": "2099-01-01T00:00:00Z"}))
    keep_comparisons(copy)
    assert run(reported) == 0
    assert copy.stem not in (reported.parent / "README.md").read_text("utf-8")


def test_load_records_of_comparisons_alone_are_one_sentence(results, capsys):
    for path in record_paths(results):
        if path.name.startswith("load"):
            keep_comparisons(path)
    assert run(results, "--check") == 2
    assert capsys.readouterr().err == "error: No record of kind 'load' has what README.md shows.\n"


def test_a_record_that_only_the_readme_cannot_show_is_one_sentence(results, capsys):
    for path in record_paths(results):
        if path.name.startswith("load"):
            path.write_text(path.read_text("utf-8").replace('"shed": 0', '"shed": "none"'))
    assert run(results, "--check") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: A record that README.md shows lacks what is shown of it (ValueError")
    assert error.count("\n") == 1


def test_a_readme_that_is_no_utf_8_is_one_sentence(results, capsys):
    readme = results.parent / "README.md"
    readme.write_bytes(b"\xff" + readme.read_bytes())
    assert run(results, "--check") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: README.md is no UTF-8 text (")
    assert error.count("\n") == 1


def test_a_page_that_is_no_utf_8_is_out_of_date(reported, capsys):
    page = record_paths(reported)[0].with_suffix(".md")
    before = page.read_bytes()
    page.write_bytes(b"\xff" + before)
    capsys.readouterr()
    assert run(reported, "--check") == 1
    assert f"{page.name} from the records" in capsys.readouterr().out
    assert run(reported) == 0
    assert page.read_bytes() == before


def test_the_page_of_a_removed_record_is_out_of_date_and_goes(reported, capsys):
    gone, notes = reported / "towers-gone.md", reported / "towers-notes.md"
    gone.write_bytes(record_paths(reported)[-2].with_suffix(".md").read_bytes())
    notes.write_text("# Towers, by hand\n")
    capsys.readouterr()
    assert run(reported, "--check") == 1
    assert capsys.readouterr().out == "towers-gone.md belongs to no record.\n"
    assert run(reported) == 0
    assert capsys.readouterr().out == "towers-gone.md\n"
    assert (gone.exists(), notes.exists(), (reported / "README.md").exists()) == (False, True, True)
    assert run(reported, "--check") == 0


def only_zeros(text):
    record = json.loads(text)
    for row in record["results"]:
        if row["p50_ms"]:
            row["p50_ms"]["image"]["1"]["median"] = 0
    return json.dumps(record)


def test_a_record_that_cannot_be_drawn_ends_with_code_2_and_one_sentence(results, capsys):
    path = next(path for path in record_paths(results) if path.name.startswith("towers"))
    path.write_text(only_zeros(path.read_text("utf-8")))  # which a logarithmic axis does not have
    assert run(results) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: The chart 'Agreement with float32 against latency")
    assert error.count("\n") == 1


def test_charts_that_would_overwrite_each_other_are_told_apart(results, capsys):
    path = next(path for path in record_paths(results) if path.name.startswith("towers"))
    record = json.loads(path.read_text("utf-8"))
    renamed = [row | {"model": row["model"].replace(":", "/")} for row in record["results"]]
    path.write_text(json.dumps(record | {"results": record["results"] + renamed}))
    assert run(results) == 0
    drawn = [each.name for each in (results / "plots").glob("latency-random-siglip-base-patch16-224*.svg")]
    assert len(drawn) == 2
    assert all(name in (results / "README.md").read_text("utf-8") for name in drawn)


def test_a_missing_readme_ends_with_code_2_and_one_sentence(results, capsys):
    (results.parent / "README.md").unlink()
    assert run(results) == 2
    assert capsys.readouterr().err == "error: README.md cannot be used (No such file or directory).\n"
