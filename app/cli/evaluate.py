"""Measure how well models do on your images: python -m app.cli.evaluate zero-shot --dataset FOLDER.

- retrieval: for each text its image is looked for among all images, and for each image one of its texts.
- zero-shot: for each image its labels are looked for among all labels.
- calibration: do things come true as often as the model's probabilities say?

Several models, or engines, are measured one after the other on the same images, and compared.

Prints a table for people; the last line of stdout is one compact JSON document.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial

from app.cli import evaluate_calibration, evaluate_retrieval, evaluate_zero_shot
from app.cli.errors import run_command


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser; each task's arguments tell what runs it."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.evaluate",
        description="Measure how well models do, on images with captions or labels.",
        epilog="Exit code 2: something cannot be used; one sentence on stderr says what.",
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    for module in (evaluate_retrieval, evaluate_zero_shot, evaluate_calibration):
        task = tasks.add_parser(module.TASK, help=module.HELP)
        module.add_options(task)
        task.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr: a dataset takes minutes
    args = build_parser().parse_args(argv)
    return run_command(partial(args.run, args))


if __name__ == "__main__":
    raise SystemExit(main())
