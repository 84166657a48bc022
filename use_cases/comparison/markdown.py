"""Rows of Markdown tables whose cells hold what people typed."""

from __future__ import annotations

from collections.abc import Sequence

_MARKS = "\\|<*_`["  # that Markdown would take for more than letters


def head(titles: Sequence[str]) -> list[str]:
    """Return the two lines above a table's rows."""
    return [row(titles), f"|{'---|' * len(titles)}"]


def row(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(map(plain, cells))} |"


def plain(text: str) -> str:
    """Return a text that stays in its cell and is no markup."""
    for mark in _MARKS:
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
