"""Exports: all facts of each image, and either a whole file or none."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.use_cases.retrieval.pictures import colour_table, record, unit_rows
from use_cases.retrieval.errors import IndexStorageError
from use_cases.retrieval.export import export_table
from use_cases.retrieval.records import FACTS

IMAGES = [
    record("a.jpg", caption='a "quoted", é caption', source="/pictures"),
    record("b", duplicate_of="a.jpg"),
]
ROWS = [{name: getattr(image, name) for name in FACTS} for image in IMAGES]


@pytest.fixture
def table(tmp_path):
    table = colour_table(tmp_path / "index")
    table.add(IMAGES, unit_rows(2))
    return table


def test_every_form_has_all_facts(table, tmp_path):
    for name in ("all.parquet", "all.jsonl", "all.csv"):
        assert export_table(table, tmp_path / name) == 2
    rows = pq.read_table(tmp_path / "all.parquet")
    np.testing.assert_array_equal(np.stack(rows["embedding"].to_numpy()), unit_rows(2))
    assert rows.drop_columns(["embedding"]).to_pylist() == ROWS
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [{name: str(fact) for name, fact in row.items()} for row in ROWS]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_a_failure_leaves_no_file(table, tmp_path, monkeypatch, ending):
    scan = table.scan

    def breaks_off():
        yield next(scan())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "scan", breaks_off)
    with pytest.raises(IndexStorageError, match=r"cannot be exported: No space left on device\."):
        export_table(table, tmp_path / f"all.{ending}")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
