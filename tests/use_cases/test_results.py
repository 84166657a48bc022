"""Records: as the schema describes them or refused, named after machine and versions."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from engines.machine.cpu import Cpu
from use_cases.results import (
    SCHEMA_PATH,
    SCHEMA_VERSION,
    InvalidRecordError,
    build_record,
    package_versions,
    read_record,
    record_paths,
    validate_record,
    write_record,
)

CPU = Cpu(
    vendor="AMD", model="AMD EPYC 7763", architecture="x86_64", instructions=frozenset({"avx2"}), cores=2,
    memory_bytes=2**30,
)  # fmt: skip


@pytest.fixture
def record():
    return build_record(
        "novelty", command="python -m app.cli.novelty", cpu=CPU, threads=2, seed=0, rounds=3, clean_rounds=2,
        settings={}, results=[{"model": "siglit-mini", "engine": "torch-fp32", "load_ms": None}],
    )  # fmt: skip


def test_the_schema_is_one_of_draft_2020_12_and_of_this_version():
    schema = json.loads(SCHEMA_PATH.read_text("utf-8"))
    assert schema["$schema"].endswith("draft/2020-12/schema")
    jsonschema_rs.meta.validate(schema)
    assert schema["properties"]["schema_version"] == {"const": SCHEMA_VERSION}


@pytest.mark.parametrize("path", record_paths(), ids=lambda path: path.stem)
def test_a_committed_record_is_valid_and_of_a_clean_commit(path):
    record = read_record(path)
    assert record["commit"], "nobody knows which code measured this"
    assert not record["commit"].endswith("-dirty")
    assert path.name.startswith(f"{record['kind']}-")


def test_a_record_is_written_and_read_back(record, tmp_path):
    record["created_utc"] = "2026-09-01T10:15:00Z"
    record["versions"] |= {"torch": "2.13.0+cpu", "onnxruntime": None}
    path = write_record(record, tmp_path)
    assert path.name == "novelty-amd_epyc_7763-2c-2t-torch2.13.0-ortnone-20260901T101500Z.json"
    assert read_record(path) == record


def test_two_records_of_one_second_have_names_of_their_own(record, tmp_path):
    paths = [
        write_record(record | {"command": command}, tmp_path) for command in ("first", "second", "third")
    ]
    assert [path.stem.removeprefix(paths[0].stem) for path in paths] == ["", "-2", "-3"]
    assert [read_record(path)["command"] for path in paths] == ["first", "second", "third"]
    assert record_paths(tmp_path) == sorted(paths)


def test_a_full_disk_leaves_no_half_of_a_record(record, tmp_path, monkeypatch):
    def fill(path, text, encoding):
        path.write_bytes(text.encode()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(OSError, match="No space left"):
        write_record(record, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_schema_beside_records_is_no_record(record, tmp_path):
    (tmp_path / "schema.json").write_text("{}")
    path = write_record(record, tmp_path)
    assert record_paths(tmp_path) == [path]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"threads": "two"}, 'threads: "two" is not of type "integer"'),
        ({"rounds": True}, 'rounds: true is not of type "integer"'),
        ({"schema_version": 99}, "schema_version: 1 was expected"),
        ({"machine": {"model": "CPU"}}, 'machine: "cores" is a required property'),
        ({"commit": "yesterday's"}, "commit: .* does not match"),
        ({"created_utc": "yesterday"}, 'created_utc: "yesterday" does not match'),
        ({"kind": "../towers"}, 'kind: "../towers" does not match'),
        ({"results": [{"model": "m", "p50_ms": float("inf")}]}, "not JSON"),
        ({"results": ["fast"]}, 'results.0: "fast" is not of type "object"'),
        ({"results": [{"engine": "torch-fp32"}]}, 'results.0: "model" is a required property'),
        ({"results": []}, "results: .* has less than 1 item"),
        ({"kind": "towers"}, 'results.0: "p50_ms" is a required property'),
        ({"kind": "retrieval"}, 'settings: "dataset" is a required property'),
    ],
)
def test_a_wrong_record_is_refused(record, tmp_path, change, problem):
    with pytest.raises(InvalidRecordError, match=problem):
        write_record(record | change, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_field_is_named(record):
    del record["commit"]
    with pytest.raises(InvalidRecordError, match='record: "commit" is a required property'):
        validate_record(record)


def test_a_record_with_a_problem_in_every_row_is_refused_in_one_short_sentence(record):
    record["results"] = [{"model": "m", "engine": ["x" * 1000]}] * 100
    with pytest.raises(InvalidRecordError, match="and 95 more") as refusal:
        validate_record(record)
    assert len(str(refusal.value)) < 1200
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(InvalidRecordError, match=r"record.json is not JSON"):
        read_record(tmp_path / "record.json")


def deep(levels):
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [980, 100_000])  # the one is read, but not checked
def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path, levels):
    (tmp_path / "record.json").write_text(deep(levels))
    with pytest.raises(InvalidRecordError, match=r"record\.json"):
        read_record(tmp_path / "record.json")


def test_a_record_that_is_nested_too_deeply_is_not_written(record, tmp_path):
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidRecordError, match="nested too deeply"):
        write_record(record | {"settings": {"value": value}}, tmp_path)


def test_the_file_of_a_damaged_record_is_named(record, tmp_path):
    (tmp_path / "towers.json").write_text(json.dumps(record | {"seed": None}))
    with pytest.raises(InvalidRecordError, match=r'towers.json: .*seed: null is not of type "integer"'):
        read_record(tmp_path / "towers.json")


def test_a_missing_package_has_no_version():
    versions = package_versions(["numpy", "no-such-package"])
    assert versions["numpy"]
    assert versions["no-such-package"] is None
    assert json.dumps(versions)
