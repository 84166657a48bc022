"""Choose an engine: what the choices are called, how close they are to float32, and waiting for one."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from engines.factory import ENGINES
from engines.loading import EngineKey
from engines.quality import Quality

BEST = ""  # the choice that leaves the engine to the server


def engine_choices() -> list[tuple[str, str]]:
    """Return (label, value) of every engine, the server's own choice first."""
    named = [(f"{name} ({entry.note})" if entry.note else name, name) for name, entry in ENGINES.items()]
    return [("the best for each model", BEST), *named]


def render_qualities(qualities: Mapping[EngineKey, Quality | None]) -> str:
    """Return one line a model: the figures of the quality gate, or what is known instead."""
    lines = "".join(f"<li>{_quality(key, quality)}</li>" for key, quality in qualities.items())
    return f'<ul class="qualities">{lines}</ul>'


def _quality(key: EngineKey, quality: Quality | None) -> str:
    name = f"<b>{html.escape(key.model)}</b> on {html.escape(key.engine)}"
    gate = ENGINES[key.engine].gate
    if gate is None:
        return f"{name}: float32, exact"
    if quality is None:
        return f"{name}: not measured here yet; that happens at its first use"
    failures = gate.failures(quality)
    verdict = f"✗ fails its gate: {', '.join(failures)}" if failures else "✓ passes its gate"
    return f"{name}: {quality.summary}. {verdict}"


def render_waiting(keys: Sequence[EngineKey], elapsed_s: float) -> str:
    """Return what stands in the results' place while engines are loaded, or built for the first time."""
    names = ", ".join(f"{html.escape(key.model)} on {html.escape(key.engine)}" for key in keys)
    hint = (
        "The first use on this machine builds a quantized engine and measures how close it is to float32;"
        " that takes some minutes, and later starts are fast."
    )
    return (
        f'<div class="empty-state"><p><strong>Loading {names} … {elapsed_s:.0f} s</strong></p>'
        f"<p>{hint}</p></div>"
    )


CSS = """
.qualities { margin: 0; padding-left: 18px; font-size: .85rem; color: var(--body-text-color); }
.qualities li { overflow-wrap: anywhere; }
"""
