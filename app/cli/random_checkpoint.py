"""Write a checkpoint with random weights: python -m app.cli.random_checkpoint NAME FOLDER."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from app.cli.errors import run_command
from engines.checkpoints.random_weights import RANDOM_CHECKPOINTS, write_random_checkpoint
from engines.errors import InvalidInputError


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.random_checkpoint",
        description="Write a checkpoint of a published model's size with seeded random weights.",
        epilog="Such a model is as fast and as large as the published one, and knows nothing.",
    )
    parser.add_argument("name", help=", ".join(RANDOM_CHECKPOINTS))
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return run_command(partial(_run, build_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    try:
        if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
            raise InvalidInputError(f"{args.folder} exists and is not empty; name a new folder.")
        write_random_checkpoint(args.name, args.folder)
    except OSError as error:
        raise InvalidInputError(f"Cannot write {args.folder} ({error.strerror}).") from None
    print(args.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
