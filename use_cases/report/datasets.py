"""What the report calls the datasets: by name, and by their content where several have the same name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from use_cases.report.kind import Entry, Record
from use_cases.results import HASH_DIGITS


def name_datasets(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with the titles of what they were measured on.

    Datasets of one kind of record that have the same name and as many images are told apart by the first
    digits of their hash, or by when the record was made where it has none.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        found.setdefault(_called(entry), set()).add(dataset_identity(entry))
    return [
        replace(entry, dataset=_told_apart(entry) if len(found[_called(entry)]) > 1 else _title(entry.record))
        for entry in entries
    ]


def dataset_identity(entry: Entry) -> str:
    """Return what differs between datasets; a record that has no hash has a dataset of its own."""
    if "dataset" not in entry.record["settings"]:
        return ""
    # Of a dataset that one engine could not read in whole, a part was measured.
    return f"{entry.record['settings'].get('dataset_sha256', entry.stem)} {_title(entry.record)}"


def templates_text(record: Record) -> str:
    """Return which prompts were asked with, if they were not each model's own; else nothing."""
    templates = record["settings"].get("templates")
    if not templates:
        return ""
    if len(templates) == 1:
        return f", asked {templates[0]!r}"
    digest = hashlib.sha256(json.dumps(templates).encode()).hexdigest()[:HASH_DIGITS]
    return f", asked with {len(templates)} templates ({digest})"


def _called(entry: Entry) -> tuple[str, str]:
    return entry.record["kind"], _title(entry.record)


def _title(record: Record) -> str:
    """Return such as "coco test, 5,000 images"; a part of a dataset is not taken for the whole."""
    settings = record["settings"]
    if "dataset" not in settings:
        return ""
    split = f" {settings['split']}" if settings.get("split") else ""
    size = f", {settings['num_images']:,} images" if "num_images" in settings else ""
    return f"{settings['dataset']}{split}{size}"


def _told_apart(entry: Entry) -> str:
    digest = entry.record["settings"].get("dataset_sha256")
    made = entry.record["created_utc"].replace("T", " ").removesuffix("Z")
    return f"{_title(entry.record)} ({digest[:HASH_DIGITS] if digest else f'measured {made}'})"
