"""What the report must know about one kind of record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from use_cases.report.chart import Chart

Row: TypeAlias = Mapping[str, Any]  # one of a record's results
Record: TypeAlias = Mapping[str, Any]  # as comparison_results/schema.json describes it


@dataclass(frozen=True, slots=True)
class Entry:
    """What one record says about one model."""

    stem: str  # the record's file name without its ending
    record: Record
    model: str

    @property
    def rows(self) -> list[Row]:
        """Return the model's results, in the record's order."""
        return [row for row in self.record["results"] if row["model"] == self.model]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How records of one kind are shown."""

    title: str
    tables: Callable[[Sequence[Row]], str]  # Markdown of one model's rows, the main table first
    facts: Callable[[Record], str]  # sentences below a page's title, one a line
    subject: Callable[[Entry], str]  # what was measured: of each subject the latest record counts
    charts: Callable[[Sequence[Entry]], list[Chart]]  # of the latest entries


def rounds_facts(record: Record) -> str:
    """Return how often was measured, and how undisturbed."""
    if record["rounds"] == 1 and not record["clean_rounds"]:
        return "Measured once; nobody watched what else the machine did."
    return (
        f"Medians of {record['rounds']} rounds, of which the most disturbed quantity had"
        f" {record['clean_rounds']} clean ones."
    )


def model_subject(entry: Entry) -> str:
    """Return the model alone: a record with fewer engines takes the place of an older one."""
    return entry.model


def engine_subject(entry: Entry) -> str:
    """Return the model with its engines, and the dataset where there is one."""
    engines = dict.fromkeys(row["engine"] for row in entry.rows if "engine" in row)
    on = f" on {', '.join(f'`{engine}`' for engine in engines)}" if engines else ""
    dataset = f", {dataset_title(entry.record)}" if "dataset" in entry.record["settings"] else ""
    return f"{entry.model}{on}{dataset}"


def dataset_title(record: Record) -> str:
    """Return what a record was measured on, so that a part of a dataset is not taken for the whole."""
    settings = record["settings"]
    split = f" {settings['split']}" if settings.get("split") else ""
    return f"{settings['dataset']}{split}, {settings['num_images']:,} images"


def no_charts(entries: Sequence[Entry]) -> list[Chart]:
    """Return nothing: the kind's tables say it all."""
    return []


def latest(entries: Iterable[Entry], kind: Kind) -> dict[str, Entry]:
    """Return by subject the latest entry, in the order in which the subjects were first measured."""
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: str(entry.record["created_utc"])):
        found[kind.subject(entry)] = entry
    return found


def origin(record: Record) -> str:
    """Return in a line where numbers come from."""
    machine = record["machine"]
    return (
        f"{machine['model']}, {machine['cores']:g} cores, {record['threads']} threads;"
        f" {record['created_utc'][:10]}; commit {record['commit']}"
    )
