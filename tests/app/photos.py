"""The photos that every door must get right, with ordinary label lists."""

from app.ui.zero_shot_tab import example_rows

ANSWERS = {
    "cat": "a cat",
    "lion": "a lion",
    "coffee": "a cup of coffee",
    "rocket": "a rocket",
    "bus": "a bus",
}


def photos():
    """Return (path, labels, right label) for each."""
    rows = {path.rsplit("/", 1)[-1].split(".")[0]: (path, labels) for path, labels in example_rows()}
    return [(*rows[name], answer) for name, answer in ANSWERS.items()]
