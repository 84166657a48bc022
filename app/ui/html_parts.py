"""Pieces of HTML that the tabs share: escaped text, pictures, bars, a box with a sentence."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

_MAX_NAMED, _MAX_NAME_CHARS = 3, 40


def escape(text: str) -> str:
    """Escape a text for HTML, and for gr.HTML's templates, which evaluate ${...} and {{...}}."""
    return html.escape(text).replace("$", "&#36;").replace("{", "&#123;")


def data_uri(jpeg: bytes) -> str:
    """Return a thumbnail as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def render_note(sentence: str, hint: str = "") -> str:
    """Return a box that stands where there are no results.

    Args:
        sentence: why there are none; not HTML.
        hint: HTML of a second line.
    """
    second = f"<p>{hint}</p>" if hint else ""
    return f'<div class="empty-state"><p><strong>{escape(sentence)}</strong></p>{second}</div>'


def render_bar(share: float) -> str:
    """Return a bar that is filled to a share from 0 to 1; the number beside it says the same in words."""
    width = 100 * min(max(share, 0.0), 1.0)
    return f'<span class="track"><span class="fill" style="width: {width:.1f}%"></span></span>'


def render_warning(sentence: str, labels: Sequence[str], css_class: str) -> str:
    """Return a line that says what is wrong with some labels and names the first; empty where there are none.

    Args:
        sentence: HTML.
        labels: which it is about; not HTML.
        css_class: of the line.
    """
    if not labels:
        return ""
    named = ", ".join(f"“{escape(_shorten(label))}”" for label in labels[:_MAX_NAMED])
    more = f" and {len(labels) - _MAX_NAMED} more" if len(labels) > _MAX_NAMED else ""
    return f'<p class="{css_class}">⚠ {sentence}: {named}{more}</p>'


def render_score(kind: str, score: float) -> str:
    """Return a score as people read it: percent for a probability, else the cosine."""
    return f"{100 * score:.1f} %" if kind == "probability" else f"{score:.3f}"


def render_stages(engine: str, timings_ms: Mapping[str, float]) -> str:
    """Return one line with the milliseconds of each stage."""
    parts = "".join(f"<span>{stage} {ms:.1f}</span>" for stage, ms in timings_ms.items())
    return (
        '<div class="stages" title="milliseconds per stage">'
        f"<strong>{sum(timings_ms.values()):.0f} ms</strong>"
        f"<span>{escape(engine)}</span>{parts}</div>"
    )


def _shorten(label: str) -> str:
    return label if len(label) <= _MAX_NAME_CHARS else f"{label[:_MAX_NAME_CHARS]}…"
