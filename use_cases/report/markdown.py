"""Markdown that people read as text, too."""

from __future__ import annotations

import textwrap

_WIDTH = 128  # characters a line, as README has it


def paragraph(text: str) -> str:
    """Return a text in lines; a link is never broken."""
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
