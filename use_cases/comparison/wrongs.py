"""Wrong: a mistake in preparation, and what it sends to the engine in place of the right input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engines.base import Pixels, Tokens


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Altered:
    """What a mistake changes; what is left out is as it should be."""

    pixels: Pixels | None = None
    tokens: Sequence[Tokens] = ()  # of every prompt, or of none
    score: Literal["sigmoid", "softmax"] | None = None  # in place of the model's own


@dataclass(frozen=True, slots=True, eq=False)
class Wrong:
    """A mistake, for one model on one engine and one request."""

    name: str  # for programs
    title: str
    why: str  # one sentence: what goes wrong
    altered: Altered | None = None  # None where it cannot be made
    reason: str = ""  # why it cannot, one sentence
