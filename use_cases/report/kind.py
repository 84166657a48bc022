"""What the report must know about one kind of record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from use_cases.report.chart import Chart

Row: TypeAlias = Mapping[str, Any]  # one of a record's results
Key: TypeAlias = tuple[str, ...]
Record: TypeAlias = Mapping[str, Any]  # as comparison_results/schema.json describes it

# What engines use for most of their arithmetic, best first; names as in `engines.machine.cpu`.
_INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512": "AVX-512",
    "avx_vnni": "AVX2 VNNI",
    "avx2": "AVX2",
    "arm_i8mm": "NEON I8MM",
    "arm_dotprod": "NEON DotProd",
    "arm_neon": "NEON",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one record says about one model."""

    stem: str  # the record's file name without its ending
    record: Record
    model: str
    dataset: str = ""  # as `use_cases.report.datasets` calls it; nothing where there is none

    @property
    def rows(self) -> list[Row]:
        """Return the model's results, in the record's order."""
        return [row for row in self.record["results"] if row["model"] == self.model]

    def with_rows(self, rows: Sequence[Row]) -> Entry:
        """Return the entry with some of its results."""
        return replace(self, record={**self.record, "results": list(rows)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How records of one kind are shown."""

    title: str
    tables: Callable[[Sequence[Row]], str]  # Markdown of one model's rows, the main table first
    facts: Callable[[Record], str]  # sentences below a page's title, one a line
    subject: Callable[[Entry], str]  # what was measured, as a title
    key: Callable[[Entry, Row], Key]  # what a row measured: of the same, the newest record counts
    charts: Callable[[Sequence[Entry]], list[Chart]]  # of the latest entries


def rounds_facts(record: Record) -> str:
    """Return how often was measured, and how undisturbed."""
    if record["rounds"] == 1 and not record["clean_rounds"]:
        return "Measured once; nobody watched what else the machine did."
    return (
        f"Medians of {record['rounds']} rounds, of which the most disturbed quantity had"
        f" {record['clean_rounds']} clean ones."
    )


def no_charts(entries: Sequence[Entry]) -> list[Chart]:
    """Return nothing: the kind's tables say it all."""
    return []


def origin(record: Record) -> str:
    """Return in a line where numbers come from."""
    machine = record["machine"]
    return (
        f"{machine['model']}, {machine['cores']:g} cores, {record['threads']} threads;"
        f" {record['created_utc'][:10]}; commit {record['commit']}"
    )


def processor(record: Record) -> str:
    """Return a machine's processor and the instructions that its speed depends on most."""
    machine = record["machine"]
    widest = next((words for name, words in _INSTRUCTIONS.items() if name in machine["instructions"]), "")
    return f"{machine['model']}{f' with {widest}' if widest else ''}, {machine['cores']:g} cores"
