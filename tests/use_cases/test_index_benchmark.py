"""The index benchmark measures what it says: exact neighbours, recall, rates; and writes a whole record."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from app.cli import benchmark_index
from engines.errors import InvalidInputError
from tests.use_cases.retrieval.pictures import stored_spec
from use_cases.index_benchmark import ingestion, search_speed
from use_cases.index_benchmark.search_speed import measure_sizes
from use_cases.index_benchmark.tables import index_tables
from use_cases.index_benchmark.vectors import BLOCK, ExactNearest, SyntheticVectors
from use_cases.latency import Summary
from use_cases.record_tables import render_record
from use_cases.results import validate_record
from use_cases.retrieval import snapshot
from use_cases.retrieval.image_index import ImageIndex

_BALLAST = 500_000_000  # bytes that the benchmark's process has and the builder has not


def test_the_exact_nearest_of_blocks_are_those_of_the_whole():
    vectors = SyntheticVectors(0, dim=16)
    queries, whole = vectors.take(5), vectors.take(300)
    exact = ExactNearest(queries, 10)
    for start in range(0, 300, 70):
        exact.see(whole[start : start + 70], np.arange(start, min(start + 70, 300)))
    best = np.argsort(-(queries @ whole.T), axis=1)[:, :10]
    assert exact.places() == [set(row) for row in best.tolist()]


def test_vectors_are_of_unit_length_and_repeatable():
    sizes = [len(block) for block in SyntheticVectors(1, dim=8).blocks(0, BLOCK + 5)]
    assert sizes == [BLOCK, 5]
    first, second = (SyntheticVectors(1, dim=8).take(50) for _ in range(2))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_vector_repeats_however_many_runs_took_them(seed):
    rows = [SyntheticVectors(seed, dim=8).take(300)]
    for start, count in [(0, 100), (100, 100), (200, BLOCK + 50), (BLOCK + 250, 100)]:
        rows += SyntheticVectors(seed, dim=8).blocks(start, count)
    whole = np.concatenate(rows)
    assert len(np.unique(whole, axis=0)) == len(whole) == BLOCK + 650
    (again,) = SyntheticVectors(seed, dim=8).blocks(100, 100)
    np.testing.assert_array_equal(rows[2], again)


def test_an_index_that_grows_in_a_later_run_has_no_image_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(search_speed, "_QUERIES", 5)
    spec = stored_spec(dim=16)
    for size in (40, 80):  # as many again: blocks of the same stream would be the same
        measure_sizes(spec, tmp_path, [size], rounds=1, seed=0)
    rows = np.concatenate([block for _, block in ImageIndex(tmp_path).table(spec).scan()])
    assert len(np.unique(rows, axis=0)) == len(rows) == 80


def test_fewer_images_than_are_asked_for_can_all_be_found(tmp_path):
    (row,) = measure_sizes(stored_spec(dim=16), tmp_path, [5], rounds=1, seed=0)
    assert (row["recall"], row["between_recall"]) == (1.0, 1.0)


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak"
)
def test_the_memory_of_building_is_the_builders(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "MAX_ROWS_IN_MEMORY", 1000)
    monkeypatch.setattr(search_speed, "_QUERIES", 5)
    ballast = b"x" * _BALLAST
    small, large = measure_sizes(stored_spec(dim=16), tmp_path, [500, 2000], rounds=1, seed=0)
    assert large["peak_rss_bytes"] > len(ballast)
    assert large["builder_peak_rss_bytes"] < large["peak_rss_bytes"] - len(ballast) / 2
    assert large["builder_peak_rss_bytes"] > 20_000_000  # Python and lancedb
    assert small["builder_peak_rss_bytes"] is None  # there was none


def test_a_peak_that_the_system_does_not_tell_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(search_speed, "_QUERIES", 5)
    monkeypatch.setattr(search_speed, "peak_rss_bytes", lambda *_: None)
    (row,) = measure_sizes(stored_spec(dim=16), tmp_path, [20], rounds=1, seed=0)
    row = {name: asdict(value) if isinstance(value, Summary) else value for name, value in row.items()}
    assert index_tables([{"measurement": "search", **row}]).endswith(" |  |")


def test_a_row_for_each_size_exact_and_by_ann(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "MAX_ROWS_IN_MEMORY", 1000)
    monkeypatch.setattr(search_speed, "_QUERIES", 50)
    small, large = measure_sizes(stored_spec(dim=16), tmp_path, [500, 2000], rounds=1, seed=0)
    assert (small["images"], small["exact"], small["recall"]) == (500, True, 1.0)
    assert (large["images"], large["exact"]) == (2000, False)
    assert large["ann"]["rows"] == 2000
    assert large["recall"] > 0.9
    assert large["between_recall"] > 0.9
    (again,) = measure_sizes(stored_spec(dim=16), tmp_path, [2000], rounds=1, seed=0)
    assert again["ann"] == large["ann"]  # what is there is taken as it is
    with pytest.raises(InvalidInputError, match="2,000 images already, more than 500"):
        measure_sizes(stored_spec(dim=16), tmp_path, [500], rounds=1, seed=0)
    assert large["disk_bytes"] > small["disk_bytes"] > 0


def test_the_command_prints_a_whole_record(capsys, monkeypatch):
    monkeypatch.setattr(ingestion, "_DECODED", 4)  # each of 12 megapixels takes a while to make
    assert benchmark_index.main(["--sizes", "300", "--rounds", "1", "--seconds", "0.3"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    validate_record(record)
    search, *ingestions = record["results"]
    assert search["images"] == 300
    assert [row["jpegs"] for row in ingestions] == ["640 x 480", "12 megapixels"]
    assert all(row["ingestion_per_s"]["median"] > 0 for row in ingestions)
    page = render_record(record)
    assert "all compared" in page
    assert "| `onnx-fp32` | 640 x 480 |" in page


def test_the_index_of_the_last_size_can_be_kept_and_used_again(tmp_path, capsys):
    command = ["--sizes", "30,60", "--models", "", "--rounds", "1", "--folder", str(tmp_path)]
    for _ in range(2):
        assert benchmark_index.main(command) == 0
        record = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert [row["images"] for row in record["results"]] == [30, 60]
        assert str(tmp_path) not in json.dumps(record)
    assert benchmark_index.main(["--sizes", "40", *command[2:]]) == 2
    assert "60 images already" in capsys.readouterr().err


@pytest.mark.parametrize("sizes", ["10,5", "0", "x", "5,5"])
def test_sizes_that_do_not_ascend_are_refused(sizes, capsys):
    with pytest.raises(SystemExit):
        benchmark_index.main(["--sizes", sizes])
    assert "ascending numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rounds", "0"], "'0' is no whole number from 1"),
        (["--rounds=-1"], "'-1' is no whole number from 1"),
        (["--seconds", "nan"], "'nan' is no number of seconds"),
        (["--seconds", "0"], "'0' is no number of seconds"),
    ],
)
def test_numbers_that_nothing_can_be_measured_with_are_refused(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark_index.main(["--sizes", "", "--models", "", *arguments])
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sizes", "", "--models", " , "], "There is nothing to measure"),
        (["--sizes", "30", "--models", "", "--folder", "file"], "Cannot use file as a folder (File exists)"),
        (
            ["--sizes", "30", "--engines", "onnx-fp32,nope"],
            "Unknown engine 'nope'; the engines are onnx-fp32,",
        ),
        (["--sizes", "30", "--folder", "file/below"], "Cannot use file/below as a folder (Not a directory)"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark_index, "measure_sizes", None)  # a call would fail
    (tmp_path / "file").write_text("mine")
    assert benchmark_index.main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
