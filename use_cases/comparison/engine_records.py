"""What the committed records of comparison_results/ say about a model's engines, and where they are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from use_cases.comparison.badge import judge, judge_record
from use_cases.comparison.engines import Cosines, EngineRow
from use_cases.results import RESULTS_DIR, InvalidRecordError, read_record

TOWERS = "towers"
OTHERS = ("requests", "zero-shot", "calibration", "retrieval")  # kinds that tell of a model's engines, too


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record and its page for readers."""

    name: str  # of the file, without its ending
    content: Mapping[str, Any]
    page: str  # Markdown; empty where there is none

    @property
    def kind(self) -> str:
        """Return which benchmark made it."""
        return str(self.content["kind"])

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that it is about."""
        return tuple(dict.fromkeys(row["model"] for row in self.content["results"]))


def read_records(folder: Path = RESULTS_DIR) -> tuple[list[StoredRecord], list[str]]:
    """Return the usable records, the newest first, and a sentence about each file that is none."""
    records: list[StoredRecord] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.json")):
        if not path.name.startswith((f"{TOWERS}-", *(f"{kind}-" for kind in OTHERS))):
            continue
        try:
            content = read_record(path)
        except InvalidRecordError as error:
            problems.append(f"{path.name}: {error}")
            continue
        page = path.with_suffix(".md")
        records.append(StoredRecord(path.stem, content, page.read_text("utf-8") if page.exists() else ""))
    return sorted(records, key=lambda record: str(record.content["created_utc"]), reverse=True), problems


def recorded_models(records: Sequence[StoredRecord]) -> list[str]:
    """Return the models whose engines were recorded, in the order of the records."""
    return list(
        dict.fromkeys(model for record in records if record.kind == TOWERS for model in record.models)
    )


def find_record(records: Sequence[StoredRecord], model: str) -> StoredRecord | None:
    """Return the newest record of a model's engines."""
    return next((each for each in records if each.kind == TOWERS and model in each.models), None)


def recorded_rows(record: StoredRecord, model: str) -> list[EngineRow]:
    """Return a record's rows of one model, at its smallest batch size."""
    return [_row(row) for row in record.content["results"] if row["model"] == model]


def model_pages(records: Sequence[StoredRecord], model: str) -> list[tuple[StoredRecord, str]]:
    """Return what the pages of the other kinds of records show of a model, as Markdown."""
    found: list[tuple[StoredRecord, str]] = []
    for record in records:
        if record.kind in OTHERS and (section := page_section(record.page, model)):
            found.append((record, section))
    return found


def page_section(page: str, model: str) -> str:
    """Return what stands below a model's heading on a record's page; nothing where there is none."""
    _, heading, rest = page.partition(f"\n## {model}\n")
    return rest.partition("\n## ")[0].strip() if heading else ""


def origin(record: Mapping[str, Any]) -> str:
    """Return in one sentence where, when and from which code a record's numbers are."""
    machine = record["machine"]
    commit = f"commit {record['commit']}" if record["commit"] else "no commit known"
    instructions = ", ".join(machine["instructions"])
    return (
        f"Measured on {machine['model']}, {machine['cores']:g} cores ({instructions}),"
        f" {record['threads']} threads, {record['created_utc']}, {commit}."
    )


def _row(row: Mapping[str, Any]) -> EngineRow:
    if row["reason"] is not None:
        return EngineRow(
            engine=row["engine"], badge=judge(row["engine"], None, row["reason"]), reason=row["reason"]
        )
    size = min(row["p50_ms"]["image"], key=int)
    speed = {tower: row["p50_ms"][tower][size] for tower in ("image", "text")}
    return EngineRow(
        engine=row["engine"],
        badge=judge_record(row["engine"], row["agreement"]),
        cosines=Cosines.of(row["agreement"]) if row["agreement"] else None,
        image_ms=speed["image"]["median"],
        text_ms=speed["text"]["median"],
        load_ms=_median(row["load_ms"]),
        rss_bytes=_median(row["rss_bytes"]),
        artifact_bytes=row["artifact_bytes"],
        foreign_cores=max(min(tower["foreign_cores"]) for tower in speed.values()),
    )


def _median(summary: Mapping[str, Any] | None) -> float | None:
    return None if summary is None else float(summary["median"])
