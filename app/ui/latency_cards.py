"""The latency tab's tables and sentences as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from app.ui import compare_tables
from app.ui.html_parts import escape, render_bar, render_note
from use_cases.load.inside import InsideLoad
from use_cases.telemetry.shares import Share
from use_cases.telemetry.sketches import RELATIVE_ERROR, StageTimes
from use_cases.telemetry.views import WHOLE, View
from use_cases.wording import counted

EMPTY = render_note(
    "No request in this window yet.",
    "Classify or search something in the other tabs, call the server from a script, or make load below.",
)
_LEAST_SHARE = 0.005  # that the sentence names
CSS = (
    compare_tables.CSS
    + """
.latency-shares { font-size: 1.05rem; margin: 0 0 10px; }
.latency-shares td:nth-child(2) { width: 40%; }
"""
)


def render_shares(shares: Sequence[Share]) -> str:
    """Return where the time goes, in a sentence.

    Args:
        shares: of the requests' time, the largest first.
    """
    if not shares:
        return EMPTY
    told = ", ".join(f"{each.share:.0%} {each.stage}" for each in shares if each.share >= _LEAST_SHARE)
    return f'<div class="cmp"><p class="latency-shares"><b>Where the time goes:</b> {escape(told)}.</p></div>'


def render_times(view: View, shares: Sequence[Share]) -> str:
    """Return the tables: the times of whole requests and of each stage, and the shares.

    Args:
        view: of the telemetry.
        shares: of its requests' time, the largest first.
    """
    return f'<div class="cmp">{_times(view)}{_shares(shares, len(view.traces))}</div>' if shares else ""


def _shares(shares: Sequence[Share], number: int) -> str:
    rows = [
        f'<tr><th scope="row">{escape(each.stage)}</th><td>{render_bar(each.share)}</td>'
        f"<td>{each.share:.1%}</td><td>{each.total_ms:,.0f}</td></tr>"
        for each in shares
    ]
    caption = (
        f"Shares of the time of the last {counted(number, 'request')}; stages at the same time share it."
    )
    return compare_tables.render_table(caption, ["stage", "", "share", "ms in all"], rows)


def _times(view: View) -> str:
    lines = [_row(row, WHOLE, "whole") for row in view.operations]
    lines += [_row(row, " · ".join(part for part in row.key[1:] if part)) for row in view.stages]
    caption = f"Milliseconds; every number is within {RELATIVE_ERROR:.0%} of the exact one."
    return compare_tables.render_table(caption, ["stage", "times", "p50", "p90", "p99"], lines)


def _row(row: StageTimes, where: str, kind: str = "stage") -> str:
    name = f'<th scope="row">{escape(row.key.stage)}<small>{escape(where or "all models")}</small></th>'
    cells = (f"{row.number:,}", *(f"{ms:,.2f}" for ms in (row.p50_ms, row.p90_ms, row.p99_ms)))
    return f'<tr class="{kind}">{name}{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def render_loads(loads: Sequence[tuple[str, InsideLoad]]) -> str:
    """Return what each load from inside met.

    Args:
        loads: with the settings that they ran under, the last one first.
    """
    rows = []
    for settings, load in loads:
        cells = (
            str(load.clients),
            _number(load.requests_per_s, ".1f"),
            _number(load.p50_ms, ".1f"),
            _number(load.p95_ms, ".1f"),
            f"{load.answered:,} / {load.refused:,}",
        )
        rows.append(
            f'<tr><th scope="row">{escape(settings)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        )
    head = ["settings", "clients", "requests/s", "p50 ms", "p95 ms", "answered / refused"]
    caption = "Load from inside this server, which takes its cores too: compare the rows with one another."
    return f'<div class="cmp">{compare_tables.render_table(caption, head, rows)}</div>'


def render_sentence(sentence: str) -> str:
    """Return a sentence that screen readers tell when it changes."""
    return f'<p role="status">{escape(sentence)}</p>' if sentence else ""


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
