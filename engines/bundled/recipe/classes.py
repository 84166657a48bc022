"""The image tower's 1000 ImageNet classes: their meanings, names and place in the text space."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch.nn import functional

from engines.bundled.recipe.towers_onnx import SentenceEmbedder
from engines.bundled.recipe.wordnet import Synset, WordNet

_NUM_WORDS = 4
_DEFINITION_WEIGHT = 2.0  # of the definition, where each of the class's words weighs one
_TOO_GENERAL = {
    "whole",
    "artifact",
    "instrumentality",
    "object",
    "matter",
    "physical entity",
    "organism",
    "chordate",
}


def imagenet_synsets(wordnet: WordNet) -> list[Synset]:
    """Return the meanings of the classes, in the classifier's order (the list ships with timm)."""
    spec = importlib.util.find_spec("timm")  # timm itself is not imported: it would ask for torchvision
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The recipe needs timm's list of ImageNet classes; run `pip install timm`.")
    listing = Path(spec.origin).parent / "data/_info/imagenet_synsets.txt"
    return [wordnet.synsets[int(line[1:])] for line in listing.read_text("utf-8").split()]


def class_texts(synset: Synset, wordnet: WordNet) -> list[str]:
    """Return the names of a class, then those of the meanings above it, down to usefully exact ones."""
    names = list(synset.words[:_NUM_WORDS])
    for parent in wordnet.ancestors(synset)[:5]:
        if parent.words[0] in _TOO_GENERAL:
            break
        names.append(parent.words[0])
    return names


def initial_table(synsets: list[Synset], embed: SentenceEmbedder) -> torch.Tensor:
    """Start the class table: the weighted mean of each class's words and definition, [1000, TEXT_DIM]."""
    texts = [[*s.words[:_NUM_WORDS], f"{s.words[0]}, {s.definition}"] for s in synsets]
    rows = embed([text for group in texts for text in group])
    table, start = [], 0
    for group in texts:
        weights = torch.ones(len(group), 1)
        weights[-1] = _DEFINITION_WEIGHT
        table.append((rows[start : start + len(group)] * weights).sum(0))
        start += len(group)
    return functional.normalize(torch.stack(table), dim=-1)
