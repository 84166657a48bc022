"""The photos that every door must get right, with ordinary label lists."""

from pathlib import Path

import pytest

from app.ui.zero_shot_tab import example_rows

ANSWERS = {
    "cat": "a cat",
    "lion": "a lion",
    "coffee": "a cup of coffee",
    "rocket": "a rocket",
    "bus": "a bus",
}


def photos():
    """Return (path, labels, right label) for each, as parameters that are named after the photo."""
    rows = {Path(path).stem: (path, labels) for path, labels in example_rows()}
    return [pytest.param(*rows[name], answer, id=name) for name, answer in ANSWERS.items()]
