"""Write and validate the records of comparison_results/: numbers with everything needed to doubt them."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.artifacts.store import installed_versions
from engines.machine.cpu import Cpu

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

SCHEMA_VERSION = 1
RESULTS_DIR = Path(__file__).parent.parent / "comparison_results"
SCHEMA_PATH = RESULTS_DIR / "schema.json"
PACKAGES = (
    "torch", "transformers", "onnxruntime", "onnx", "openvino", "bitsandbytes", "accelerate",
    "open_clip_torch", "tokenizers", "sentencepiece", "pillow", "numpy",
)  # fmt: skip
HASH_DIGITS = 8  # hexadecimal, that tell things of the same name apart
_PROJECT_DIR = Path(__file__).parent.parent
_TOO_DEEP = "its lists and objects are nested too deeply"
_MAX_PROBLEM = 200  # characters; a problem quotes the value, which may be a whole record
_MAX_PROBLEMS = 5  # that are told; a record of another kind has one in every row


class InvalidRecordError(ValueError):
    """A record lacks something or has a value of the wrong kind."""


def machine_facts(cpu: Cpu) -> dict[str, Any]:
    """Return what a record says about the machine; no name of it and no path on it."""
    return {
        "vendor": cpu.vendor,
        "model": cpu.model,
        "architecture": cpu.architecture,
        "instructions": sorted(cpu.instructions),
        "cores": cpu.cores,
        "memory_bytes": cpu.memory_bytes,
        "system": platform.system(),
    }


def package_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """Return the installed versions, without importing anything; None for a package that is missing."""
    return {"python": platform.python_version(), **installed_versions(*packages)}


def project_commit() -> str | None:
    """Return the commit, with "-dirty" when files were changed since; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=_PROJECT_DIR, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() or None


def build_record(
    kind: str,
    *,
    command: str,
    cpu: Cpu,
    threads: int,
    seed: int,
    rounds: int,
    clean_rounds: int,
    settings: dict[str, Any],
    results: list[Any],
) -> dict[str, Any]:
    """Return a complete record of a benchmark.

    Args:
        kind: which benchmark, the first word of the file's name.
        command: what to run to get such a record.
        cpu: the machine.
        threads: threads an operator.
        seed: of random weights.
        rounds: how many were asked for.
        clean_rounds: the fewest clean rounds that any measurement had.
        settings: what else decides the numbers.
        results: the numbers, JSON values.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "command": command,
        "commit": project_commit(),
        "created_utc": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine_facts(cpu),
        "versions": package_versions(),
        "threads": threads,
        "seed": seed,
        "rounds": rounds,
        "clean_rounds": clean_rounds,
        "settings": settings,
        "results": results,
    }


def validate_record(record: Mapping[str, Any]) -> None:
    """Check a record against comparison_results/schema.json, and that its numbers are finite.

    Raises:
        InvalidRecordError: with every problem in one sentence.
    """
    try:
        problems = _problems(_as_json(record))
    except RecursionError:
        raise InvalidRecordError(f"The record cannot be used: {_TOO_DEEP}.") from None
    if problems:
        more = [f"and {len(problems) - _MAX_PROBLEMS} more"] if len(problems) > _MAX_PROBLEMS else []
        told = "; ".join(problems[:_MAX_PROBLEMS] + more)
        raise InvalidRecordError(f"The record cannot be used: {told}.")


def write_record(record: Mapping[str, Any], folder: Path = RESULTS_DIR) -> Path:
    """Write a valid record under a name that carries machine and versions; return its path.

    Raises:
        InvalidRecordError: when the record is not complete.
        OSError: when the folder cannot be written.
    """
    validate_record(record)
    folder.mkdir(parents=True, exist_ok=True)
    path = _free_path(folder / record_name(record))
    part = path.with_suffix(".part")
    try:
        part.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", "utf-8")
        part.replace(path)
    except OSError:  # no half of a record, nor an empty one
        for each in (part, path):
            each.unlink(missing_ok=True)
        raise
    return path


def _free_path(wanted: Path) -> Path:
    """Make an empty file, numbered where another record of the same second has its name; return its path."""
    path, number = wanted, 1
    while True:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
            path = wanted.with_stem(f"{wanted.stem}-{number}")
        else:
            return path


def read_record(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        InvalidRecordError: when it is no JSON or not complete; the sentence names the file.
        OSError: when the file cannot be read.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InvalidRecordError(f"{path.name} is not JSON ({error}).") from None
    except RecursionError:
        raise InvalidRecordError(f"{path.name} cannot be used: {_TOO_DEEP}.") from None
    try:
        validate_record(record)
    except InvalidRecordError as error:
        raise InvalidRecordError(f"{path.name}: {error}") from None
    return record


def record_paths(folder: Path = RESULTS_DIR) -> list[Path]:
    """Return the files of a folder's records, in the order of their names."""
    return [path for path in sorted(folder.glob("*.json")) if path.name != SCHEMA_PATH.name]


def record_name(record: Mapping[str, Any]) -> str:
    """Return such as "towers-amd_epyc-2c-2t-torch2.13.0-ort1.32.0-20260901T101500Z.json"."""
    machine, versions = record["machine"], record["versions"]
    slug = re.sub(r"[^a-z0-9]+", "_", machine["model"].lower()).strip("_") or "cpu"
    stamp = re.sub(r"[^0-9TZ]", "", record["created_utc"])
    packages = "-".join(
        f"{short}{(versions.get(package) or 'none').partition('+')[0]}"
        for short, package in (("torch", "torch"), ("ort", "onnxruntime"))
    )
    return f"{record['kind']}-{slug}-{machine['cores']:g}c-{record['threads']}t-{packages}-{stamp}.json"


def _as_json(record: Mapping[str, Any]) -> Any:
    """Return a record without what Python alone knows: a tuple is an array, an infinity is no number."""
    try:
        return json.loads(json.dumps(record, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidRecordError(f"The record cannot be used: it is not JSON ({error}).") from None


def _problems(document: Any) -> list[str]:
    """Return each breach of the schema with its place, such as 'machine: "cores" is a required property'."""
    try:
        errors = list(_validator().iter_errors(document))
    except ValueError as error:  # "Recursion limit reached", as the library calls it
        raise RecursionError(str(error)) from None
    found = [(".".join(map(str, error.instance_path)), error.message) for error in errors]
    return [_shortened(f"{place or 'record'}: {message}") for place, message in sorted(found)]


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_PROBLEM else f"{text[:_MAX_PROBLEM]}..."


@cache
def _validator() -> Draft202012Validator:
    from jsonschema_rs import Draft202012Validator  # only who reads or writes records needs it

    return Draft202012Validator(json.loads(SCHEMA_PATH.read_text("utf-8")))
