"""Every file that the report writes, and which of them are out of date."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from use_cases.record_tables import render_record
from use_cases.report.chart import Chart
from use_cases.report.datasets import dataset_identity, name_datasets
from use_cases.report.kind import Entry, Record
from use_cases.report.kinds import kind_of
from use_cases.report.overview import PLOTS, kinds_in_order, overview
from use_cases.report.page import draw_page
from use_cases.report.readme import fill_readme
from use_cases.report.seeds import compare_losses, seeds_charts
from use_cases.report.subjects import latest
from use_cases.report.svg import draw_svg
from use_cases.results import HASH_DIGITS, InvalidRecordError, read_record, record_paths

_MAX_DIFFERENCE = 40  # lines that are shown of a file
# A record's page begins so, see `render_record`; a page that somebody wrote by hand is not the report's.
_PAGE_TITLE = re.compile(r"# [A-Z][a-z0-9-]*, \d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\n")
C = TypeVar("C")
T = TypeVar("T")


def report_files(results: Path, readme: Path) -> dict[Path, str]:
    """Return the text of each file that the report writes.

    Args:
        results: the folder of the records.
        readme: the project's README, of which only the blocks between markers change.

    Raises:
        InvalidRecordError: when a record is damaged, README is no UTF-8 or lacks a block, or two charts have
            one name.
        OSError: when a file cannot be read.
    """
    records = {path: read_record(path) for path in record_paths(results)}
    entries = _entries(records)
    files = {
        path.with_suffix(".md"): _shown(path.name, record, render_record) for path, record in records.items()
    }
    losses = list(compare_losses().values())
    charts = distinct_charts({name: _kind_charts(name, entries) for name in kinds_in_order(entries)})
    for chart in [*seeds_charts(losses), *(chart for drawn in charts.values() for chart in drawn)]:
        path = results / PLOTS / chart.name
        drawing, page = path.with_name(f"{path.name}.svg"), path.with_name(f"{path.name}.html")
        if drawing in files:
            raise InvalidRecordError(f"Two charts would be {drawing.name}; one is {chart.title!r}.")
        files[drawing] = _shown(f"The chart {chart.title!r}", chart, draw_svg)
        files[page] = _shown(f"The chart {chart.title!r}", chart, draw_page)
    files[results / "README.md"] = _shown(
        "A record of the overview", entries, lambda found: overview(found, charts, losses)
    )
    text = _hand_written(readme)
    files[readme] = _shown(
        f"A record that {readme.name} shows", entries, lambda found: fill_readme(text, found)
    )
    return files


def write_files(files: Mapping[Path, str], results: Path) -> list[Path]:
    """Write what changed, remove pages and charts that are no more; return the files that were touched.

    Raises:
        OSError: when a file cannot be written.
    """
    changed = [path for path, text in files.items() if _current(path) != text]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], "utf-8")
    stale = _stale(files, results)
    for path in stale:
        path.unlink()
    return changed + stale


def differences(files: Mapping[Path, str], results: Path) -> list[str]:
    """Return for each file that is out of date what would change, as a unified diff.

    Raises:
        OSError: when a file cannot be read.
    """
    found: list[str] = []
    for path, text in files.items():
        current = _current(path) or ""
        if current == text:
            continue
        lines = list(
            difflib.unified_diff(
                current.splitlines(), text.splitlines(), path.name, f"{path.name} from the records", n=0,
                lineterm="",
            )
        )  # fmt: skip
        more = [f"... and {len(lines) - _MAX_DIFFERENCE} lines more"] if len(lines) > _MAX_DIFFERENCE else []
        found.append("\n".join(lines[:_MAX_DIFFERENCE] + more))
    return found + [f"{path.name} belongs to no record." for path in _stale(files, results)]


def _entries(records: Mapping[Path, Record]) -> list[Entry]:
    entries = [
        Entry(path.stem, record, model)
        for path, record in records.items()
        for model in dict.fromkeys(row["model"] for row in record["results"])
    ]
    for entry in entries:  # one by one, to name the file of one that has no title
        _shown(f"{entry.stem}.json", entry, dataset_identity)
    return _shown("A record's dataset", entries, name_datasets)


def _kind_charts(name: str, entries: Sequence[Entry]) -> list[Chart]:
    kind = kind_of(name)
    its = [entry for entry in entries if entry.record["kind"] == name]
    return _shown(f"A record of kind {name!r}", its, lambda found: kind.charts(latest(found, kind)))


def distinct_charts(charts: Mapping[str, Sequence[Chart]]) -> dict[str, list[Chart]]:
    """Return the charts, those that would have one file's name told apart by their titles.

    A file's name has few characters: "my pets" and "my_pets" are the same there, and so are 猫 and 犬.
    """
    times_named = Counter(chart.name for drawn in charts.values() for chart in drawn)
    return {
        kind: [
            replace(chart, name=f"{chart.name}-{_digest(chart.title)}")
            if times_named[chart.name] > 1
            else chart
            for chart in drawn
        ]
        for kind, drawn in charts.items()
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def _shown(name: str, content: C, show: Callable[[C], T]) -> T:
    """Return what is shown of a record; the schema lets through what only its tables and charts need."""
    try:
        return show(content)
    except InvalidRecordError:  # says more than what follows could
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration) as error:
        raise InvalidRecordError(f"{name} lacks what is shown of it ({error!r}).") from error


def _stale(files: Mapping[Path, str], results: Path) -> list[Path]:
    pages = [path for path in sorted(results.glob("*.md")) if path not in files and _is_record_page(path)]
    return pages + [path for path in sorted((results / PLOTS).glob("*")) if path not in files]


def _is_record_page(path: Path) -> bool:
    return path.is_file() and bool(_PAGE_TITLE.match(_current(path) or ""))


def _hand_written(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRecordError(f"{path.name} is no UTF-8 text ({error}).") from None


def _current(path: Path) -> str | None:
    """Return a file as it is; bytes that are no UTF-8 differ from all that the report writes."""
    return path.read_text("utf-8", "backslashreplace") if path.exists() else None
