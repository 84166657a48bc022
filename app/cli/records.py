"""What every command that measures does with its record: print it, and keep it if that is asked for."""

from __future__ import annotations

import json
import sys
from typing import Any

from use_cases.record_tables import render_record
from use_cases.results import write_record


def show_record(record: dict[str, Any], table: str, *, write: bool) -> int:
    """Print a table for people and the record as one line of JSON; return the command's exit code.

    Args:
        record: as `build_record` makes it.
        table: what people read.
        write: keep the record in comparison_results/, with a page to read beside it.
    """
    print(table)
    if write:
        try:
            path = write_record(record)
            path.with_suffix(".md").write_text(render_record(record), "utf-8")
        except OSError as error:
            print(f"error: the record cannot be written ({error.strerror}).", file=sys.stderr)
            return 2
        print(f"Written to {path.name} and {path.stem}.md.")
        print("Now bring the tables up to date: python -m app.cli.report.")
    print(json.dumps(record, separators=(",", ":"), allow_nan=False))
    return 0
