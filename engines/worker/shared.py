"""What the engines of one process share, and what they answer with."""

from __future__ import annotations

from dataclasses import dataclass, field

from engines.base import Embeddings, PatchFeatures
from engines.machine.cpu import read_cpu
from engines.worker.cache import EmbeddingCache
from engines.worker.calls import BatcherLimits
from engines.worker.cores import CoreSlots
from engines.worker.text_store import TextStore


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of one request and how long each of its stages took."""

    embeddings: Embeddings  # [n, dim]
    timings_ms: dict[str, float]  # by stage: preprocess or tokenize, queue, infer
    truncated: tuple[bool, ...]  # per item: a text that is longer than the model's context
    cached: tuple[bool, ...]  # per item: its embedding was known before this request
    num_tokens: tuple[int, ...]  # per item: that the model read, padding included; 0 for images


@dataclass(frozen=True, slots=True)
class Features:
    """Patch features of one request's images and how long each stage took."""

    features: PatchFeatures  # [n, tokens, hidden]
    timings_ms: dict[str, float]  # by stage: preprocess, queue, infer


@dataclass(slots=True)
class Worker:
    """What all engines of one process share."""

    slots: CoreSlots = field(default_factory=lambda: CoreSlots(available_cores()))
    cache: EmbeddingCache = field(default_factory=EmbeddingCache)
    limits: BatcherLimits = field(default_factory=BatcherLimits)
    texts: TextStore | None = None  # text embeddings that survive a restart
    parallel: bool = True  # let engines that can make calls side by side, at the cost of memory


def available_cores() -> int:
    """Return the cores that this process may use, at least one."""
    return max(int(read_cpu().cores), 1)
