"""Records: complete or refused, named after machine and versions."""

import json

import pytest

from engines.machine.cpu import Cpu
from use_cases.results import (
    InvalidRecordError,
    build_record,
    package_versions,
    read_record,
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
        "towers", command="python -m app.cli.benchmark", cpu=CPU, threads=2, seed=0, rounds=3, clean_rounds=2,
        settings={}, results=[{"engine": "torch-fp32", "load_ms": None}],
    )  # fmt: skip


def test_a_record_is_written_and_read_back(record, tmp_path):
    record["created_utc"] = "2026-09-01T10:15:00Z"
    record["versions"] |= {"torch": "2.13.0+cpu", "onnxruntime": None}
    path = write_record(record, tmp_path)
    assert path.name == "towers-amd_epyc_7763-2c-2t-torch2.13.0-ortnone-20260901T101500Z.json"
    assert read_record(path) == record


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"threads": "two"}, "threads is 'two'"),
        ({"rounds": True}, "rounds is True"),
        ({"schema_version": 99}, "schema_version is not"),
        ({"machine": {"model": "CPU"}}, "machine.cores is missing"),
        ({"results": [{"p50_ms": float("inf")}]}, "not JSON"),
        ({"results": ["fast"]}, r"results\[0\] is no object"),
    ],
)
def test_a_wrong_record_is_refused(record, tmp_path, change, problem):
    with pytest.raises(InvalidRecordError, match=problem):
        write_record(record | change, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_field_is_named(record):
    del record["commit"]
    with pytest.raises(InvalidRecordError, match="commit is missing"):
        validate_record(record)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(InvalidRecordError, match=r"record.json is not JSON"):
        read_record(tmp_path / "record.json")


def test_a_missing_package_has_no_version():
    versions = package_versions(["numpy", "no-such-package"])
    assert versions["numpy"]
    assert versions["no-such-package"] is None
    assert json.dumps(versions)
