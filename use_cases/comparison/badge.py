"""The correctness badge of an engine: whether its embeddings are those of float32, as far as was measured.

The figures come from comparing an engine with stored float32 vectors of the held-out images and captions
(`engines.quality`): at build time, in a live measurement, or in a committed record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engines.factory import ENGINES
from engines.quality import Gate, Quality

# Of engines that claim to be float32. Measured for all families: mean cosine 1.0000, same nearest neighbours;
# a runtime that silently computes in bfloat16 reaches 0.999.
EXACT_GATE = Gate(0.9999, 0.99)
State = Literal["passed", "failed", "not measured"]


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict, and the numbers or the reason behind it in one sentence."""

    state: State
    sentence: str


def gate_of(engine: str) -> Gate:
    """Return what an engine must reach; one without a gate of its own claims to be exact."""
    entry = ENGINES.get(engine)
    return entry.gate if entry and entry.gate else EXACT_GATE


def judge(engine: str, quality: Quality | None, reason: str = "") -> Badge:
    """Return an engine's badge.

    Args:
        engine: a key of ENGINES, or another program's name in a record.
        quality: its figures, if there are any.
        reason: why there are none; one sentence.
    """
    if quality is None:
        return Badge("not measured", reason or _unmeasured(engine))
    failures = gate_of(engine).failures(quality)
    if failures:
        return Badge("failed", f"Too far from float32: {', '.join(failures)}.")
    return Badge("passed", f"{quality.summary[:1].upper()}{quality.summary[1:]}.")


def judge_record(engine: str, agreement: Mapping[str, Any] | None) -> Badge:
    """Return an engine's badge from a record of the engines' benchmark, by its cosines alone.

    The record's top-1 agreement is among all sentences, those that describe no image too, where random
    weights choose by chance; the gate's is among the images' own captions.
    """
    if agreement is None:
        return Badge("not measured", "The record did not compare it with float32.")
    needed = gate_of(engine).min_cosine
    cosines = {tower: agreement[f"{tower}_cosine_mean"] for tower in ("image", "text")}
    figures = ", ".join(f"{tower} cosine {cosine:.4f}" for tower, cosine in cosines.items())
    if all(cosine >= needed for cosine in cosines.values()):  # false for NaN
        return Badge("passed", f"In the record: {figures} ({needed} needed).")
    return Badge("failed", f"Too far from float32 in the record: {figures} ({needed} needed).")


def _unmeasured(engine: str) -> str:
    if engine in ENGINES and ENGINES[engine].gate is None:
        return "It computes in float32 and has no gate; a live measurement compares it, too."
    return "Nobody has compared it with float32 on this machine yet; that happens at its first use."
