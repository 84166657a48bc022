"""Where the texts beside points go, so that they do not cover one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HEIGHT, _CHAR_WIDTH = 13.0, 6.0  # pixels, of text at 11 pixels
_GAP = 8.0
_STEPS = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6)  # lines below (above) the point, in the order tried


@dataclass(frozen=True, slots=True)
class Mark:
    """What a point covers, from left to right, and the text that belongs beside it."""

    text: str  # empty where nothing is written
    left: float
    right: float
    y: float


@dataclass(frozen=True, slots=True)
class Label:
    """A text, and where its left end and its middle line are."""

    text: str
    x: float
    y: float


def place_labels(marks: Sequence[Mark], left: float, right: float) -> Iterator[Label]:
    """Return the labels beside their marks, moved up or down where another label or mark is in the way.

    A label goes to the right where it can, and neither over the left nor over the right end of the drawing.
    """
    obstacles = [(mark.left - 4, mark.right + 4, mark.y - 4, mark.y + 4) for mark in marks]
    for mark in marks:
        if not mark.text:
            continue
        width = _CHAR_WIDTH * len(mark.text)
        boxes = [
            (x, x + width, mark.y + (step - 0.5) * _HEIGHT, mark.y + (step + 0.5) * _HEIGHT)
            for step in _STEPS
            for x in (mark.right + _GAP, mark.left - _GAP - width)
            if left <= x <= right - width
        ]
        box = next((box for box in boxes if not any(_overlap(box, other) for other in obstacles)), None)
        if box:  # else the drawing is too full; plotly's page tells what the point is
            obstacles.append(box)
            yield Label(mark.text, box[0], (box[2] + box[3]) / 2)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
