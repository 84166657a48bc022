"""What records measured: how the report calls it, and which of several measurements of it is the newest."""

from __future__ import annotations

from collections.abc import Iterable

from use_cases.report.datasets import dataset_identity, templates_text
from use_cases.report.kind import Entry, Key, Kind, Row


def model_subject(entry: Entry) -> str:
    """Return the model alone."""
    return entry.model


def model_key(entry: Entry, row: Row) -> Key:
    """Return the model alone: a record with fewer engines takes the place of an older one."""
    return (str(row["model"]),)


def engine_subject(entry: Entry) -> str:
    """Return the model with its engines, the prompts if they are not its own, and the dataset if any."""
    engines = dict.fromkeys(row["engine"] for row in entry.rows if "engine" in row)
    on = f" on {', '.join(f'`{engine}`' for engine in engines)}" if engines else ""
    dataset = f", {entry.dataset}" if entry.dataset else ""
    return f"{entry.model}{on}{templates_text(entry.record)}{dataset}"


def engine_key(entry: Entry, row: Row) -> Key:
    """Return the model, its engine, the prompts and the dataset: of each the newest rows count."""
    engine = str(row.get("engine", ""))
    return str(row["model"]), engine, templates_text(entry.record), dataset_identity(entry)


def row_title(entry: Entry, row: Row) -> str:
    """Return which of several things on one dataset a row measured."""
    return f"{row['model']} on {row['engine']}{templates_text(entry.record)}"


def latest(entries: Iterable[Entry], kind: Kind) -> list[Entry]:
    """Return the entries with those rows that no newer record measured again.

    The difference to another model goes when either of the two was measured again: it would not be that of
    the numbers beside it. Entries are in the order in which what they measured was first measured.
    """
    in_time = sorted(entries, key=lambda entry: str(entry.record["created_utc"]))
    newest: dict[Key, str] = {kind.key(entry, row): entry.stem for entry in in_time for row in entry.rows}
    order = {key: place for place, key in enumerate(newest)}
    kept: list[tuple[int, Entry]] = []
    for entry in in_time:
        rows = [
            row
            for row in entry.rows
            if all(newest.get(key, entry.stem) == entry.stem for key in _keys(kind, entry, row))
        ]
        if rows:
            kept.append((min(order[kind.key(entry, row)] for row in rows), entry.with_rows(rows)))
    return [entry for _, entry in sorted(kept, key=lambda each: each[0])]


def _keys(kind: Kind, entry: Entry, row: Row) -> list[Key]:
    others = [{**row, **row["minus"]}] if "minus" in row else []
    return [kind.key(entry, each) for each in (row, *others)]
