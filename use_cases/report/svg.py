"""Charts as SVG: plain text, the same bytes on every machine, readable on a dark page too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from use_cases.report.chart import Chart, Point
from use_cases.report.labels import Mark, place_labels
from use_cases.report.scale import Scale

WIDTH = 760  # pixels, as all sizes here
_HEIGHT, _ROW_HEIGHT, _SERIES_HEIGHT = 440, 30, 16
_RIGHT, _BOTTOM, _TITLE, _LINE = 44, 74, 52, 18
_CHAR_WIDTH = 6.9  # of a letter at 12 pixels, about
_LEGEND_GAP = 34
_GREY, _LIGHT, _TEXT = "#868e96", "#dee2e6", "#212529"


def draw_svg(chart: Chart) -> str:
    """Return the SVG document of a chart."""
    legend = list(_legend(chart))
    top = _TITLE + (_LINE * (1 + legend[-1][1]) if legend else 0)
    row_height = max(_ROW_HEIGHT, _SERIES_HEIGHT * (len(chart.series) + 1))
    height = top + _BOTTOM + (row_height * len(chart.rows) if chart.rows else _HEIGHT - _TITLE - _BOTTOM)
    left = 20 + _CHAR_WIDTH * max(map(len, chart.rows)) if chart.rows else 84.0
    x = Scale.over(chart.x_values(), left, WIDTH - _RIGHT, log=chart.log_x)
    ends = (top, height - _BOTTOM) if chart.rows else (height - _BOTTOM, top)
    y = Scale.over(chart.y_values(), *ends, log=chart.log_y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="{_TEXT}" role="img">',
        f"<title>{escape(chart.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600">{escape(chart.title)}</text>',
        *_axes(chart, x, y),
    ]
    for name, line, at, colour in legend:
        parts.append(f'<circle cx="{at + 5:.1f}" cy="{_TITLE - 6 + _LINE * line}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{at + 15:.1f}" y="{_TITLE - 2 + _LINE * line}">{escape(name)}</text>')
    marks: list[Mark] = []
    for series, colour, points in chart.placed():
        if series.style != "dots":
            dashes = ' stroke-dasharray="5 5"' if series.style == "dashed" else ""
            path = " ".join(f"{x.at(point.x):.1f},{y.at(point.y):.1f}" for point in points)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'
            )
        if series.style != "dashed":
            for point in points:
                parts += _mark(chart, point, colour, x, y)
                ends_x = [point.x] + [
                    end for end in (point.low, point.high) if chart.rows and end is not None
                ]
                marks.append(Mark(point.label, x.at(min(ends_x)), x.at(max(ends_x)), y.at(point.y)))
    parts += _labels(marks, x)
    parts.append(f'<text x="16" y="{height - 12}" font-size="11" fill="{_GREY}">{escape(chart.note)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(chart: Chart) -> Iterator[tuple[str, int, float, str]]:
    """Return each series' name, the line of the legend it stands in, its place there and its colour."""
    if len(chart.series) < 2:
        return
    line, at = 0, 16.0
    for series, colour, _ in chart.placed():
        width = _CHAR_WIDTH * len(series.name) + _LEGEND_GAP
        if at + width > WIDTH and at > 16:
            line, at = line + 1, 16.0
        yield series.name, line, at, colour
        at += width


def _axes(chart: Chart, x: Scale, y: Scale) -> Iterator[str]:
    top, bottom = sorted((y.start, y.stop))
    for value, text in x.ticks():
        at = f"{x.at(value):.1f}"
        colour = _GREY if chart.rows and value == 0 else _LIGHT
        yield f'<line x1="{at}" x2="{at}" y1="{top}" y2="{bottom}" stroke="{colour}"/>'
        yield f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{text}</text>'
    rows = [(float(index), row) for index, row in enumerate(chart.rows)]
    for value, text in rows or y.ticks():
        at = f"{y.at(value):.1f}"
        yield f'<line x1="{x.start:.1f}" x2="{x.stop}" y1="{at}" y2="{at}" stroke="{_LIGHT}"/>'
        yield f'<text x="{x.start - 8:.1f}" y="{y.at(value) + 4:.1f}" text-anchor="end">{escape(text)}</text>'
    middle = (x.start + x.stop) / 2
    yield f'<text x="{middle:.1f}" y="{bottom + 36}" text-anchor="middle">{escape(chart.x_title)}</text>'
    if chart.y_title:
        at = f"{(top + bottom) / 2:.1f}"
        yield (
            f'<text x="18" y="{at}" text-anchor="middle" transform="rotate(-90 18 {at})">'
            f"{escape(chart.y_title)}</text>"
        )


def _mark(chart: Chart, point: Point, colour: str, x: Scale, y: Scale) -> Iterator[str]:
    at_x, at_y = x.at(point.x), y.at(point.y)
    if point.low is not None and point.high is not None:
        ends = (
            f'x1="{x.at(point.low):.1f}" x2="{x.at(point.high):.1f}" y1="{at_y:.1f}" y2="{at_y:.1f}"'
            if chart.rows
            else f'x1="{at_x:.1f}" x2="{at_x:.1f}" y1="{y.at(point.low):.1f}" y2="{y.at(point.high):.1f}"'
        )
        yield f'<line {ends} stroke="{colour}" stroke-width="1.5"/>'
    yield f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="4" fill="{colour}"/>'


def _labels(marks: Sequence[Mark], x: Scale) -> Iterator[str]:
    for label in place_labels(marks, x.start, WIDTH):
        yield f'<text x="{label.x:.1f}" y="{label.y + 4:.1f}" font-size="11">{escape(label.text)}</text>'
