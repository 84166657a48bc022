"""What every command that measures does with its record: print it, and keep it if that is asked for."""

from __future__ import annotations

import json
import sys
from typing import Any

from use_cases.record_tables import render_record
from use_cases.results import InvalidRecordError, write_record


def show_record(record: dict[str, Any], table: str, *, write: bool) -> int:
    """Print a table for people and the record as one line of JSON; return the command's exit code.

    The record may have taken hours: it is written before anything is printed, and printed though it cannot be
    written.

    Args:
        record: as `build_record` makes it.
        table: what people read.
        write: keep the record in comparison_results/, with a page to read beside it.
    """
    code, sentences = _write(record) if write else (0, [])
    print("\n".join([table, *sentences]))
    print(json.dumps(record, separators=(",", ":"), allow_nan=False))
    return code


def _write(record: dict[str, Any]) -> tuple[int, list[str]]:
    """Return the exit code, and what to say of what was written."""
    try:
        path = write_record(record)
    except OSError as error:
        print(f"error: the record cannot be written ({error.strerror}).", file=sys.stderr)
        return 2, []
    except InvalidRecordError as error:  # a bug, or a name that nobody thought of; the numbers are good
        print(f"error: the record cannot be kept ({error}).", file=sys.stderr)
        return 2, []
    page = path.with_suffix(".md")
    try:
        page.write_text(render_record(record), "utf-8")
    except OSError as error:
        print(f"error: the page {page.name} cannot be written ({error.strerror}).", file=sys.stderr)
        return 2, [f"Written to {path.name}."]
    return 0, [
        f"Written to {path.name} and {page.name}.",
        "Now bring the tables up to date: python -m app.cli.report.",
    ]
