"""Tables of the comparison: rows of labels or mistakes, probabilities as people read them, their style."""

from __future__ import annotations

from collections.abc import Sequence

from app.ui.html_parts import escape

_COLUMN_PX = 100  # of a column at least: three fit on a phone
_SMALLEST = 1e-5  # a share below it is shown as that

CSS = """
.cmp { color: var(--body-text-color); }
.cmp p { margin: 0 0 12px; color: var(--body-text-color); overflow-wrap: anywhere; }
.cmp .why { border-left: 4px solid var(--color-accent); padding: 8px 12px; font-size: 1rem;
    background: var(--background-fill-secondary); border-radius: 0 var(--radius-md) var(--radius-md) 0; }
.cmp .note { font-size: .85rem; opacity: .8; }
.cmp .scroll { overflow-x: auto; border: 1px solid var(--border-color-primary);
    border-radius: var(--radius-lg); background: var(--background-fill-primary); margin: 0 0 12px; }
.cmp .scroll:focus-visible, .cmp a:focus-visible, .cmp summary:focus-visible {
    outline: 3px solid var(--color-accent); outline-offset: 1px; }
.cmp table { width: 100%; border-collapse: collapse; margin: 0; font-size: .9rem; table-layout: fixed;
    font-variant-numeric: tabular-nums; }
.cmp table, .cmp thead, .cmp tbody, .cmp tr { border: 0; }
.cmp caption { text-align: left; padding: 10px 10px 6px; font-size: .85rem; color: var(--body-text-color);
    opacity: .8; }
.cmp th, .cmp td { padding: 8px; text-align: left; vertical-align: top; border: 0; background: none;
    border-top: 1px solid var(--border-color-primary); color: var(--body-text-color);
    overflow-wrap: anywhere; }
.cmp tbody th { font-weight: 500; }
.cmp .mistakes { margin-bottom: 12px; }
.cmp .mistakes th:first-child { width: 42%; }
.cmp small { display: block; font-weight: 400; font-size: .78rem; opacity: .8; }
.cmp .own { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 8px; }
.cmp .own b { font-weight: 600; }
.cmp .rank { display: inline-block; padding: 0 6px; border-radius: 9px; font-size: .75rem;
    line-height: 18px; height: 18px; white-space: nowrap;
    background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary); }
.cmp .rank.moved { background: #fde68a; border-color: #d97706; color: #713f12; }
.cmp .track { display: block; height: 6px; border-radius: 3px; margin: 4px 0; overflow: hidden;
    background: var(--border-color-primary); }
.cmp .fill { display: block; height: 100%; border-radius: 3px; background: var(--color-accent); }
.cmp tr.none th, .cmp tr.none td { border-top: 2px dashed var(--border-color-primary); }
.cmp details { margin: 0 0 12px; }
.cmp summary { cursor: pointer; margin: 0 0 8px; color: var(--body-text-color); }
.cmp .keep { display: flex; flex-wrap: wrap; gap: 6px 16px; font-size: .9rem; margin: 0 0 12px; }
.cmp .keep a { color: var(--link-text-color); text-decoration: underline; }
"""


def render_table(caption: str, head: Sequence[str], rows: Sequence[str]) -> str:
    """Return a table that scrolls sideways within itself, by the keyboard too.

    Args:
        caption: what it shows; not HTML.
        head: HTML of the column heads.
        rows: HTML of the rows.
    """
    heads = "".join(f'<th scope="col">{each}</th>' for each in head)
    width = _COLUMN_PX * len(head)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table style="min-width: {width}px">'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def render_row(label: str, cells: Sequence[str], *, css_class: str = "", note: str = "") -> str:
    """Return a row.

    Args:
        label: its head; not HTML.
        cells: HTML.
        css_class: of the row.
        note: stands small below the head; not HTML.
    """
    tag = f'<tr class="{css_class}">' if css_class else "<tr>"
    below = f"<small>{escape(note)}</small>" if note else ""
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'{tag}<th scope="row">{escape(label)}{below}</th>{columns}</tr>'


def percent(share: float) -> str:
    """Return a probability as people read it; small ones keep two digits, for SigLIP's often are."""
    if 0 < share < _SMALLEST:
        return f"&lt;\u00a0{100 * _SMALLEST:g}\u00a0%"
    return f"{100 * share:.1f}\u00a0%" if share >= 0.01 or not share else f"{100 * share:.2g}\u00a0%"
