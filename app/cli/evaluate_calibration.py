"""The evaluate command's task calibration: do things come true as often as the probabilities say?"""

from __future__ import annotations

import argparse
from typing import Any

from app.cli.evaluate_labelled import add_labelled_options, run_labelled
from app.cli.evaluate_labelled_table import calibration_table
from use_cases.labelled.calibration import measure_calibration
from use_cases.labelled.comparison import Compared
from use_cases.labelled.rows import calibration_rows, calibration_settings

TASK = "calibration"
HELP = 'whether probabilities can be trusted, and "none of these"'


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
    calibration = measure_calibration(compared)
    return calibration_settings(calibration), calibration_rows(calibration), calibration_table(calibration)
