"""Charts as pages of plotly, for reading single numbers off; the script comes from plotly's own CDN.

With the script inlined each page would have 4.5 MB. The tag holds the script's checksum, so that a browser
runs no other one.
"""

from __future__ import annotations

from typing import Any

from use_cases.report.chart import Chart, Series


def draw_page(chart: Chart) -> str:
    """Return the HTML document of a chart."""
    import plotly.graph_objects as go

    figure = go.Figure([_trace(chart, *placed) for placed in chart.placed()])
    figure.update_layout(
        template="none",
        title={"text": chart.title, "subtitle": {"text": chart.note}},
        showlegend=len(chart.series) > 1,
        hovermode="closest",
    )
    figure.update_xaxes(title=chart.x_title, type="log" if chart.log_x else "linear", automargin=True)
    figure.update_yaxes(title=chart.y_title, type="log" if chart.log_y else "linear", automargin=True)
    if chart.rows:
        figure.update_yaxes(
            tickvals=list(range(len(chart.rows))),
            ticktext=list(chart.rows),
            autorange="reversed",
            zeroline=False,
        )
    if chart.zero:
        (figure.update_xaxes if chart.rows else figure.update_yaxes)(rangemode="tozero")
    page: str = figure.to_html(include_plotlyjs="cdn", div_id=chart.name)
    return page.rstrip() + "\n"


def _trace(chart: Chart, series: Series, colour: str, points: tuple[Any, ...]) -> Any:
    import plotly.graph_objects as go

    values = [point.x if chart.rows else point.y for point in points]
    interval = None
    if any(point.low is not None for point in points):
        interval = {
            "type": "data",
            "symmetric": False,
            "array": [
                _short((v if p.high is None else p.high) - v) for p, v in zip(points, values, strict=True)
            ],
            "arrayminus": [
                _short(v - (v if p.low is None else p.low)) for p, v in zip(points, values, strict=True)
            ],
        }
    return go.Scatter(
        name=series.name,
        x=[_short(point.x) for point in points],
        y=[_short(point.y) for point in points],
        text=[point.label for point in points],
        mode={"dots": "markers", "line": "lines+markers", "dashed": "lines"}[series.style],
        line={"dash": "dash" if series.style == "dashed" else "solid"},
        marker={"color": colour, "size": 9},
        error_x=interval if chart.rows else None,
        error_y=None if chart.rows else interval,
    )


def _short(value: float) -> float:
    """Return a number with the digits that mean something; the last ones differ between Python's versions."""
    return float(f"{value:.6g}")
