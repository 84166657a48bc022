"""Draw a comparison of many images and texts as HTML: what was left out, agreement, the best texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from app.ui.html_parts import data_uri, escape, render_note
from use_cases.comparison.many import ManyColumn, ManyComparison
from use_cases.comparison.many_tables import AGREEMENT_TITLES, agreement_cells, summary_cells

EMPTY_STATE = render_note(
    "Drop images and type texts, then press Compare.",
    "Or click the example: 12 pictures of the gallery with their captions.",
)
_SUMMARY_TITLES = ("own text first", "calibration error", "predictions")

CSS = """
.compared { color: var(--body-text-color); font-size: .9rem; }
.compared h3 { margin: 14px 0 4px; font-size: 1rem; color: var(--body-text-color); }
.compared p { margin: 0 0 6px; color: var(--body-text-color); overflow-wrap: anywhere; }
.compared p.origin { font-size: .8rem; opacity: .75; }
.compared .scroll { overflow-x: auto; }
.compared .scroll:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.compared table { width: 100%; margin: 0; border: 0; border-collapse: collapse;
    font-variant-numeric: tabular-nums; }
.compared tr { border: 0; }
.compared th, .compared td { padding: 4px 8px; text-align: left; color: var(--body-text-color); border: 0;
    border-bottom: 1px solid var(--border-color-primary); background: none; vertical-align: top; }
.compared th { font-weight: 600; white-space: nowrap; }
.compared td.number, .compared th.number { text-align: right; white-space: nowrap; }
.compared td img { display: block; width: 56px; max-width: none; height: 42px; margin: 0;
    object-fit: contain; }
.compared td:not(.number) { min-width: 7em; }
.compared td.picture { min-width: 0; }
.compared td small { opacity: .75; }
"""


def render_comparison(comparison: ManyComparison, strays: Sequence[str], origin: str, link: str) -> str:
    """Return the tables below the charts; each sentence says what is missing and why.

    Args:
        comparison: to draw.
        strays: sentences about dropped files that could not be used.
        origin: where and when it was computed; one sentence.
        link: to the inputs, as HTML.
    """
    parts = [
        *(_warning(f"{name}: {reason}") for name, reason in comparison.failures.items()),
        *(_warning(_left_out(name, reason)) for name, reason in comparison.unreadable.items()),
        *map(_warning, strays),
        *(f"<p>{escape(note)}</p>" for note in comparison.notes),
        *(_warning(sentence) for column in comparison.columns for sentence in _truncated(comparison, column)),
        _agreements(comparison),
        _summaries(comparison),
        _best_texts(comparison),
        f"<p>{link}</p>",
        f'<p class="origin">{escape(origin)}</p>',
    ]
    return f'<div class="compared" role="status">{"".join(parts)}</div>'


def table(titles: Sequence[str], rows: Sequence[str], label: str) -> str:
    """Return a table that the keyboard can scroll.

    Args:
        titles: HTML of the first row's cells, <th> included.
        rows: HTML of the other rows' cells, <td> included.
        label: what the table shows; not HTML.
    """
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table><thead><tr>'
        f"{''.join(titles)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def head(title: str, *, number: bool = False) -> str:
    """Return a cell of a table's first row."""
    return f'<th scope="col"{_NUMBER if number else ""}>{escape(title)}</th>'


def cell(text: str, *, number: bool = False) -> str:
    """Return a cell with a text."""
    return f"<td{_NUMBER if number else ''}>{escape(text)}</td>"


_NUMBER = ' class="number"'
_ONE_COLUMN = "There is one column only; choose another model or engine to see agreement."
_NO_OTHER_ANSWER = "One column only could answer; agreement is between two."


def _warning(sentence: str) -> str:
    return f"<p>⚠ {escape(sentence)}</p>"


def _left_out(name: str, reason: str) -> str:
    """Return a sentence that names the image; most reasons do so, but not which of two of the same name."""
    return f"Left out: {reason}" if repr(name) in reason else f"Left out {name!r}: {reason}"


def _truncated(comparison: ManyComparison, column: ManyColumn) -> list[str]:
    count = sum(column.similarity.truncated)
    if not count:
        return []
    return [f"{column.name} read only the beginning of {count} of {len(comparison.texts)} texts: too long."]


def _agreements(comparison: ManyComparison) -> str:
    title = "<h3>Agreement</h3>"
    if not comparison.agreements:
        return f"{title}<p>{_NO_OTHER_ANSWER if comparison.failures else _ONE_COLUMN}</p>"
    names = [column.name for column in comparison.columns]
    rows = [
        cell(f"{names[i]} and {names[j]}")
        + "".join(cell(value, number=True) for value in agreement_cells(asdict(each)))
        for (i, j), each in comparison.agreements.items()
    ]
    heads = [head("columns"), *(head(each, number=True) for each in AGREEMENT_TITLES)]
    note = (
        "<p>Spearman: of the cosines of all pairs. Kendall: of the order of the texts, mean over the images."
        " Both are 1 for the same order and 0 for unrelated ones.</p>"
    )
    return title + note + table(heads, rows, "Agreement between the columns")


def _summaries(comparison: ManyComparison) -> str:
    title = "<h3>Accuracy and calibration</h3>"
    if comparison.truth is None:
        return f"{title}<p>They need to know which text describes which image.</p>"
    rows = [
        cell(column.name) + "".join(cell(value, number=True) for value in summary_cells(column))
        for column in comparison.columns
    ]
    heads = [head("column"), *(head(each, number=True) for each in _SUMMARY_TITLES)]
    intervals = (
        "In brackets: 95 % bootstrap intervals over the images."
        if comparison.num_known > 1
        else "There are no intervals: they need more than one image with a text of its own."
    )
    note = (
        "<p>A sigmoid score is a promise about each pair, a softmax score about the best text alone; so their"
        f" errors are of different predictions. {intervals}</p>"
    )
    return title + note + table(heads, rows, "Accuracy and calibration of the columns")


def _best_texts(comparison: ManyComparison) -> str:
    rows = []
    for i, (image, thumbnail) in enumerate(zip(comparison.images, comparison.thumbnails, strict=True)):
        picture = f'<td class="picture"><img src="{data_uri(thumbnail)}" alt="" loading="lazy"></td>'
        best = "".join(_best(comparison, column, i) for column in comparison.columns)
        rows.append(f"{cell(str(i + 1), number=True)}{picture}{cell(image.name)}{best}")
    heads = [head("#", number=True), head(""), head("image")]
    heads += [head(column.name) for column in comparison.columns]
    return f"<h3>Best text of each image</h3>{table(heads, rows, 'Best text of each image by each column')}"


def _best(comparison: ManyComparison, column: ManyColumn, image: int) -> str:
    place = int(column.similarity.cosines[image].argmax())
    score = float(column.similarity.scores[image, place])
    cosine = float(column.similarity.cosines[image, place])
    mark, truth = "", comparison.truth
    if truth is not None and truth[image].any():
        mark = "✓ " if truth[image, place] else "✗ "
    return (
        f"<td>{mark}{escape(comparison.texts[place])}<br>"
        f"<small>{100 * score:.1f} %, cosine {cosine:.3f}</small></td>"
    )
