"""Accuracies that others published, to hold measured ones against; each with the document that says it.

All are zero-shot top-1 accuracies on ImageNet-1k, read in the named documents. They were measured with the
authors' own prompts, labels and preparation, mostly with an ensemble of many templates.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from engines.checkpoints.hub import parse_hub_name

_FILE = Path(__file__).parent / "published_accuracies.json"


@dataclass(frozen=True, slots=True)
class PublishedAccuracy:
    """What somebody else measured."""

    model: str
    dataset: str
    top1: float  # in [0, 1]
    source: str  # who says so, and where
    url: str


def published_accuracy(model: str) -> PublishedAccuracy | None:
    """Return the published accuracy of a model of the hub or of open_clip; None where none is known."""
    hub = parse_hub_name(model)
    # "owner/name@revision" is the same model.
    return _accuracies().get(model) or (_accuracies().get(hub.repo) if hub else None)


@cache
def _accuracies() -> MappingProxyType[str, PublishedAccuracy]:
    content = json.loads(_FILE.read_text("utf-8"))
    found: dict[str, PublishedAccuracy] = {}
    for entry in content["accuracies"]:
        source = content["sources"][entry["source"]]
        for model in entry["models"]:
            found[model] = PublishedAccuracy(
                model, content["dataset"], entry["top1"], source["text"], source["url"]
            )
    return MappingProxyType(found)
