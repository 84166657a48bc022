"""What a chart shows, without saying how it is drawn: points with intervals, in series.

Charts are drawn twice from this: as SVG, which pages embed, and as a page of plotly, which tells each point's
numbers. There is no PNG: plotly needs kaleido for it, and kaleido a whole Chromium, whose pixels change with
its version and the machine's fonts. An SVG is text of a few kilobytes, the same bytes everywhere, and git
hosts show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_GREY = "#868e96"  # of what nobody measured


@dataclass(frozen=True, slots=True)
class Point:
    """A measured point.

    `low` and `high` are the interval of the value: of x in a chart with rows, else of y.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour, joined or not; a dashed line was not measured, but is to compare with."""

    name: str
    points: tuple[Point, ...]
    style: Literal["dots", "line", "dashed"] = "dots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart; with `rows`, y counts them from the top, and x is the value."""

    name: str  # the file's, without its ending
    title: str
    note: str  # where the numbers come from
    x_title: str
    y_title: str = ""
    series: tuple[Series, ...]
    rows: tuple[str, ...] = ()
    log_x: bool = False
    log_y: bool = False
    zero: bool = False  # the axis of the value shows 0 (it does not when it is logarithmic)

    def placed(self) -> Iterator[tuple[Series, str, tuple[Point, ...]]]:
        """Return each series with its colour and its points where they are drawn: in a row side by side."""
        middle = (len(self.series) - 1) / 2
        for index, series in enumerate(self.series):
            shift = (index - middle) / (len(self.series) + 1) if self.rows else 0.0
            points = tuple(Point(p.x, p.y + shift, p.low, p.high, p.label) for p in series.points)
            colour = _GREY if series.style == "dashed" else COLOURS[index % len(COLOURS)]
            yield series, colour, points

    def x_values(self) -> list[float]:
        """Return every x that must be visible."""
        points = [point for series in self.series for point in series.points]
        ends = [end for point in points for end in (point.low, point.high) if end is not None]
        return [point.x for point in points] + (ends + [0.0] * self.zero if self.rows else [])

    def y_values(self) -> list[float]:
        """Return every y that must be visible."""
        if self.rows:
            return [-0.6, len(self.rows) - 0.4]
        points = [point for series in self.series for point in series.points]
        ends = [end for point in points for end in (point.low, point.high) if end is not None]
        return [point.y for point in points] + ends + [0.0] * self.zero


def slug(text: str) -> str:
    """Return a name for a file, such as "random-vit-base-patch32" for "random:ViT-base/patch32"."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
