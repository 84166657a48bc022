"""The evaluate command's task zero-shot: look for each image's labels among all labels."""

from __future__ import annotations

import argparse
from typing import Any

from app.cli.evaluate_labelled import add_labelled_options, run_labelled
from app.cli.evaluate_labelled_table import accuracy_table
from use_cases.labelled.accuracy import measure_accuracy
from use_cases.labelled.comparison import Compared
from use_cases.labelled.rows import accuracy_rows, accuracy_settings

TASK = "zero-shot"
HELP = "look for each image's labels among all labels: top-1, top-5, recall or mAP"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the task's arguments."""
    add_labelled_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measure; return the command's exit code.

    Raises:
        EngineError: when a name cannot be used, no image can be read, or an engine fails.
    """
    return run_labelled(args, _measure)


def _measure(compared: Compared) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    accuracy = measure_accuracy(compared)
    return accuracy_settings(accuracy), accuracy_rows(accuracy), accuracy_table(accuracy)
