"""Draw a model's engines as HTML: a table with a badge each, and what is going on."""

from __future__ import annotations

from collections.abc import Sequence

from app.ui.compare_many_cards import cell, head, table
from app.ui.html_parts import escape, render_note
from engines.factory import ENGINES
from use_cases.comparison.badge import Badge
from use_cases.comparison.engine_records import StoredRecord, origin
from use_cases.comparison.engine_tables import COLUMNS, EngineTable
from use_cases.comparison.engines import EngineRow
from use_cases.latency import is_clean

_MARKS = {"passed": "✓ passed", "failed": "✗ failed", "not measured": "? not measured"}
_CLASSES = {"passed": "passed", "failed": "failed", "not measured": "unknown"}

CSS = """
.compared .badge { display: inline-block; padding: 0 8px; border-radius: 10px; font-size: .8rem;
    white-space: nowrap; border: 1px solid currentColor; }
.compared .badge.passed { background: #047857; color: #fff; }
.compared .badge.failed { background: #b91c1c; color: #fff; font-weight: 700; }
.compared .badge.unknown { color: var(--body-text-color); opacity: .8; }
.compared td.engine { min-width: 12em; }
.compared td.engine small { display: block; overflow-wrap: anywhere; }
.measuring { font-size: .9rem; color: var(--body-text-color); min-height: 3em; }
.measuring p { margin: 0 0 4px; color: var(--body-text-color); }
"""


def render_engines(engines: EngineTable, problems: Sequence[str] = ()) -> str:
    """Return the table of a model's engines below its title and where its numbers are from.

    Args:
        engines: in the order of the numbers in the chart.
        problems: sentences about what could not be read.
    """
    rows = engines.rows
    if not rows:
        return render_note(f"Nothing is known about the engines of {engines.model}.", escape(engines.origin))
    measured = any(row.tasks for row in rows)
    # What no row has would be a column of dashes.
    names = [
        name for name, text in COLUMNS.items() if name != "correct" and any(text(row) != "-" for row in rows)
    ]
    heads = [head("#", number=True), head("engine"), head("correct")]
    heads += [head(name, number=True) for name in names]
    lines = [
        cell(str(number), number=True)
        + _engine(row)
        + f"<td>{render_badge(row.badge)}</td>"
        + "".join(cell(COLUMNS[name](row), number=True) for name in names)
        for number, row in enumerate(rows, 1)
    ]
    warnings = "".join(f"<p>⚠ {escape(problem)}</p>" for problem in problems)
    note = (
        "<p>R@1 and zero-shot: on held-out pictures, then the change against float32 in percentage points"
        " with the 95 % interval of the paired difference; n.s., not significant: the interval holds 0.</p>"
        if measured
        else ""
    )
    return (
        f'<div class="compared">{warnings}<h3>{escape(engines.title)}</h3>'
        f'<p class="origin">{escape(engines.origin)}</p>{note}'
        f"{table(heads, lines, 'Engines')}</div>"
    )


def render_pages(model: str, pages: Sequence[tuple[StoredRecord, str]]) -> str:
    """Return what the pages of other records show of a model, as HTML.

    Args:
        model: its name.
        pages: records, and what their pages say of the model: Markdown with tables.
    """
    if not pages:
        return f'<div class="compared"><p>No other committed record has {escape(model)}.</p></div>'
    parts = [
        f'<h3>{escape(record.kind)}</h3><p class="origin">{escape(record.name)}.'
        f" {escape(origin(record.content))}</p>{_page(page, record.kind)}"
        for record, page in pages
    ]
    return f'<div class="compared">{"".join(parts)}</div>'


def _page(page: str, label: str) -> str:
    """Return a page's tables and sentences; Markdown's own tables break words into letters on a phone."""
    parts: list[str] = []
    for block in page.split("\n\n"):
        lines = block.splitlines()
        if not lines[0].startswith("|"):
            parts.append(f"<p>{escape(block.replace('`', ''))}</p>")
            continue
        first, _, *rest = (
            [text.strip().replace("`", "") for text in line.strip("|").split("|")] for line in lines
        )
        rows = ["".join(cell(text) for text in row) for row in rest]
        parts.append(table([head(title) for title in first], rows, f"{label}: {first[0]}"))
    return "".join(parts)


def render_badge(badge: Badge) -> str:
    """Return a badge; its sentence is what a pointer or a screen reader finds."""
    sentence = escape(badge.sentence)
    return (
        f'<span class="badge {_CLASSES[badge.state]}" title="{sentence}"'
        f' aria-label="{badge.state}: {sentence}">{_MARKS[badge.state]}</span>'
    )


def render_status(sentences: Sequence[str]) -> str:
    """Return what is going on, or how long it would take."""
    paragraphs = "".join(f"<p>{escape(each)}</p>" for each in sentences)
    return f'<div class="measuring" role="status">{paragraphs}</div>'


def _engine(row: EngineRow) -> str:
    remarks = []
    if row.badge.state == "failed" or row.reason:
        remarks.append(row.badge.sentence)
    if row.foreign_cores is not None and not is_clean(row.foreign_cores):
        remarks.append(f"Other processes kept {row.foreign_cores:.1f} cores busy meanwhile.")
    entry = ENGINES.get(row.engine)
    if entry and entry.note:
        remarks.append(f"{entry.note[:1].upper()}{entry.note[1:]}.")
    small = "".join(f"<small>{escape(remark)}</small>" for remark in remarks)
    return f'<td class="engine">{escape(row.engine)}{small}</td>'
