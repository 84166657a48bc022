"""The report command: writes, checks, and refuses damaged records with a sentence."""

import json

import pytest

from app.cli import report
from use_cases.results import RESULTS_DIR, record_paths

README = RESULTS_DIR.parent / "README.md"


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "comparison_results"
    folder.mkdir()
    for path in record_paths():
        (folder / path.name).write_bytes(path.read_bytes())
    (tmp_path / "README.md").write_bytes(README.read_bytes())
    return folder


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


def test_a_check_prints_what_is_out_of_date_and_writes_nothing(results, capsys):
    assert run(results) == 0
    readme = results.parent / "README.md"
    edited = readme.read_text("utf-8").replace("| `onnx-int4` | 213 (1.22x)", "| `onnx-int4` | 113 (2.22x)")
    readme.write_text(edited, "utf-8")
    capsys.readouterr()
    assert run(results, "--check") == 1
    out = capsys.readouterr().out
    assert "-| `onnx-int4` | 113 (2.22x)" in out
    assert "+| `onnx-int4` | 213 (1.22x)" in out
    assert readme.read_text("utf-8") == edited


def test_a_record_that_was_never_reported_is_out_of_date(results, capsys):
    assert run(results) == 0
    path = record_paths(results)[0]
    newer = json.loads(path.read_text("utf-8")) | {"created_utc": "2099-01-01T00:00:00Z"}
    (results / f"{path.stem}-new.json").write_text(json.dumps(newer))
    capsys.readouterr()
    assert run(results, "--check") == 1
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


def test_charts_that_would_overwrite_each_other_are_refused(results, capsys):
    path = next(path for path in record_paths(results) if path.name.startswith("towers"))
    record = json.loads(path.read_text("utf-8"))
    renamed = [row | {"model": row["model"].replace(":", "/")} for row in record["results"]]
    path.write_text(json.dumps(record | {"results": record["results"] + renamed}))
    assert run(results) == 2
    error = capsys.readouterr().err
    assert (
        "Two charts would be latency-random-siglip-base-patch16-224.svg; one is 'Latency by engine" in error
    )
    assert error.count("\n") == 1


def test_a_missing_readme_ends_with_code_2_and_one_sentence(results, capsys):
    (results.parent / "README.md").unlink()
    assert run(results) == 2
    assert capsys.readouterr().err == "error: README.md cannot be used (No such file or directory).\n"
