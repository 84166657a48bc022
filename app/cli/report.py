"""Make every table and chart of measured numbers from the records: python -m app.cli.report [--check].

Writes comparison_results/README.md, the page beside each record, the charts in comparison_results/plots/ and
the blocks of README.md that show measured numbers. Running it again changes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from app.cli.errors import run_command
from engines.errors import InvalidInputError
from use_cases.report.files import differences, report_files, write_files
from use_cases.results import RESULTS_DIR, InvalidRecordError


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.report",
        description="Make the tables and charts of comparison_results/ and README.md from the records.",
        epilog="Exit code 1: --check found something out of date; 2: a record cannot be used.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; print what is out of date, and fail if anything is",
    )
    return parser


def main(
    argv: Sequence[str] | None = None,
    results: Path = RESULTS_DIR,
    readme: Path = RESULTS_DIR.parent / "README.md",
) -> int:
    """Run the command; return its exit code."""
    args = build_parser().parse_args(argv)
    return run_command(partial(_run, args.check, results, readme), InvalidRecordError)


def _run(check: bool, results: Path, readme: Path) -> int:
    try:
        files = report_files(results, readme)
        if not check:
            print("\n".join(path.name for path in write_files(files, results)) or "Nothing changed.")
            return 0
        found = differences(files, results)
    except OSError as error:
        raise InvalidInputError(
            f"{Path(error.filename or results).name} cannot be used ({error.strerror})."
        ) from error
    print("\n\n".join(found) or "Everything is up to date.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
