"""Draw a comparison on one image as HTML: a row a label, a column a model, and why the columns differ."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from app.ui.compare_links import render_link
from app.ui.compare_sensitivity_cards import render_sensitivities
from app.ui.compare_tables import percent, render_row, render_table
from app.ui.html_parts import escape, render_bar, render_note, render_warning
from use_cases.comparison.columns import Column, ComparedLabel, FailedColumn, own_score
from use_cases.comparison.one_image import Comparison
from use_cases.comparison.one_image_tables import (
    comparison_csv,
    comparison_json,
    comparison_markdown,
    display_order,
)

MAX_ROWS = 50  # more labels than that are in the downloads only

EMPTY_STATE = render_note(
    "Drop a photo or choose a picture, then press Compare.",
    "Every label gets its sigmoid, its softmax and its raw cosine, side by side.",
)


def render_comparison(comparison: Comparison, link: str | None, *, uploaded: bool) -> str:
    """Return the HTML of a comparison.

    Args:
        comparison: what to show.
        link: the query of an address that asks the same again; None when it would be too long.
        uploaded: the image is the visitor's own, which no link can name.
    """
    return (
        f'<div class="cmp"><p class="why">{escape(comparison.explanation)}</p>'
        f"{_table(comparison)}{_warnings(comparison.columns)}{_keep(comparison, link, uploaded)}"
        f"{render_sensitivities(comparison)}</div>"
    )


def _table(comparison: Comparison) -> str:
    columns, failed = comparison.columns, comparison.failed
    shown = display_order(columns, MAX_ROWS)
    by_label = [{each.label: each for each in column.labels} for column in columns]
    rows = [render_row(label, [_cell(found, by_label[0], label) for found in by_label]) for label in shown]
    rows.append(render_row("none of these", [_none_of_these(column) for column in columns], css_class="none"))
    if failed:  # beside all rows, which are the other columns'
        reasons = "".join(f'<td rowspan="{len(rows)}">⚠ {escape(each.error)}</td>' for each in failed)
        rows[0] = f"{rows[0].removesuffix('</tr>')}{reasons}</tr>"
    hidden = len(comparison.labels) - len(shown)
    caption = "Each model's own probability, then the softmax over the same logits and the raw cosine"
    if hidden > 0:
        caption = (
            f"The best {len(shown)} of {len(comparison.labels):,} labels; the downloads have all. {caption}"
        )
    return render_table(caption, ["label", *map(_head, columns), *map(_failed_head, failed)], rows)


def _head(column: Column) -> str:
    cold = ", loaded for this" if column.cold else ""
    quality = f"<small>{escape(column.quality.summary)}</small>" if column.quality else ""
    return (
        f"{escape(column.model)}<small>{escape(column.engine)}, {column.score}</small>"
        f"<small>{sum(column.timings_ms.values()):.0f} ms{cold}</small>{quality}"
    )


def _failed_head(failed: FailedColumn) -> str:
    return f"{escape(failed.model)}<small>{escape(failed.engine) or 'the best engine'}: no answer</small>"


def _cell(found: Mapping[str, ComparedLabel], first: Mapping[str, ComparedLabel], name: str) -> str:
    label = found[name]
    moved = label.rank != first[name].rank
    title = f' title="rank {first[name].rank} in the first column"' if moved else ""
    rank = f'<span class="rank{" moved" if moved else ""}"{title}>#{label.rank}</span>'
    softmax = "" if label.sigmoid is None else f"<small>softmax {percent(label.softmax)}</small>"
    return (
        f'<span class="own"><b>{percent(own_score(label))}</b>{rank}</span>{render_bar(own_score(label))}'
        f"{softmax}<small>cosine {label.cosine:.4f}</small>"
    )


def _none_of_these(column: Column) -> str:
    if column.none_of_these is None:
        return "<small>A softmax cannot say it: its 100 % always go to the labels.</small>"
    share = column.none_of_these
    number = f'<span class="own"><b>{percent(share)}</b></span>{render_bar(share)}'
    return f"{number}<small>1 - the best sigmoid</small>"


def _warnings(columns: Sequence[Column]) -> str:
    """Return what labels some columns could not read, or not to the end."""
    parts = []
    for column in columns:
        name = f"{escape(column.model)} on {escape(column.engine)}"
        parts += [
            render_warning(f"Too long for {name}, which read only the beginning", column.truncated, "note"),
            render_warning(f"{name} cannot tell these characters apart", column.unread, "note"),
        ]
    return "".join(parts)


def _keep(comparison: Comparison, link: str | None, uploaded: bool) -> str:
    """Return the downloads, which are in the page itself, and the link."""
    files = (
        ("CSV", "csv", "text/csv", comparison_csv(comparison)),
        ("JSON", "json", "application/json", comparison_json(comparison)),
        ("Markdown", "md", "text/markdown", comparison_markdown(comparison)),
    )
    links = "".join(
        f'<a download="comparison.{ending}" href="data:{kind};charset=utf-8;base64,'
        f'{base64.b64encode(content.encode()).decode()}">{name}</a>'
        for name, ending, kind, content in files
    )
    shared = render_link(link, uploaded=uploaded)
    return f'<p class="keep"><span>Download:</span>{links}<span>{shared}</span></p>'
