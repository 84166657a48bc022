"""Training pairs: real pictures with captions, and pseudo-pairs from the image tower's classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engines.bundled.model import ImageTower
from engines.bundled.recipe.classes import class_texts
from engines.bundled.recipe.cutouts import Picture
from engines.bundled.recipe.features import Features
from engines.bundled.recipe.towers_onnx import SentenceEmbedder
from engines.bundled.recipe.wordnet import Synset, WordNet

PHOTO_TEMPLATES = ("{label}", "a photo of a {label}", "a {label}", "a picture of a {label}")
DRAWING_TEMPLATES = (
    "{label}",
    "a drawing of a {label}",
    "a {label}",
    "a cartoon {label}",
    "a picture of a {label}",
)
_SAME = 0.75  # cosine of two concept names above which neither is a negative of the other
_TOP_DIM = 1280  # of each net


@dataclass(frozen=True, slots=True)
class TextBank:
    """Embeddings of all training texts, grouped by concept or picture."""

    rows: Tensor  # [num_texts, TEXT_DIM]
    groups: list[Tensor]  # per owner: indices of its texts


@dataclass(frozen=True, slots=True)
class Views:
    """Features of all views of all pictures."""

    pooled: Tensor  # [num_views, FEATURE_DIM], half precision
    class_logits: Tensor  # [num_views, NUM_CLASSES], half precision
    picture: Tensor  # [num_views], index of the picture
    plain: Tensor  # [num_pictures], row of each picture's view 0


@dataclass(frozen=True, slots=True)
class PairData:
    """Everything a training run draws its batches from."""

    views: Views
    photo: Tensor  # [num_pictures], bool
    concept: Tensor  # [num_pictures], index into the relation's rows
    class_concept: Tensor  # [NUM_CLASSES], the same for pseudo-pairs
    texts: TextBank  # owners: the pictures, then the classes
    relation: Tensor  # [concepts, concepts] int8: 1 same, 0 related (neither counts), -1 different
    class_weights: tuple[Tensor, ...]  # each net's classifier, [NUM_CLASSES, _TOP_DIM]
    class_bias: Tensor  # [NUM_CLASSES], mean of both


def stack_views(parts: Sequence[tuple[Sequence[int], Features]]) -> Views:
    """Join cached views; each part names the pictures its rows belong to, plain views before others."""
    picture = torch.cat([torch.tensor(rows) for rows, _ in parts])
    plain = torch.empty(int(picture.max()) + 1, dtype=torch.long)
    for row in reversed(range(len(picture))):
        plain[picture[row]] = row
    return Views(
        torch.from_numpy(np.concatenate([features.pooled for _, features in parts])),
        torch.from_numpy(np.concatenate([features.class_logits for _, features in parts])),
        picture,
        plain,
    )


def build_pair_data(
    pictures: Sequence[Picture],
    views: Views,
    synsets: list[Synset],
    wordnet: WordNet,
    embed: SentenceEmbedder,
) -> PairData:
    """Embed all captions and relate all concepts."""
    names = sorted({p.item.concept for p in pictures} | {s.words[0].lower() for s in synsets})
    index = {name: i for i, name in enumerate(names)}
    classifiers = ImageTower().classifiers()
    return PairData(
        views=views,
        photo=torch.tensor([p.item.photo for p in pictures]),
        concept=torch.tensor([index[p.item.concept] for p in pictures]),
        class_concept=torch.tensor([index[s.words[0].lower()] for s in synsets]),
        texts=_text_bank(pictures, synsets, wordnet, embed),
        relation=_relate(names, embed(names), wordnet),
        class_weights=tuple(c.weight.detach().clone() for c in classifiers),
        class_bias=(classifiers[0].bias + classifiers[1].bias).detach() / 2,
    )


def _text_bank(
    pictures: Sequence[Picture], synsets: list[Synset], wordnet: WordNet, embed: SentenceEmbedder
) -> TextBank:
    known: dict[str, int] = {}
    groups = []
    owners = [(p.item.captions, PHOTO_TEMPLATES if p.item.photo else DRAWING_TEMPLATES) for p in pictures]
    owners += [(tuple(class_texts(s, wordnet)), PHOTO_TEMPLATES) for s in synsets]
    for captions, templates in owners:
        texts = [template.format(label=caption) for caption in captions for template in templates]
        groups.append(torch.tensor([known.setdefault(text, len(known)) for text in texts]))
    return TextBank(embed(list(known)), groups)


def _relate(names: list[str], rows: Tensor, wordnet: WordNet) -> Tensor:
    """Tell which concepts are the same (1), too close to be negatives (0) or different (-1)."""
    relation = torch.full((len(names), len(names)), -1, dtype=torch.int8)
    relation[rows @ rows.T > _SAME] = 0
    index = {name: i for i, name in enumerate(names)}
    for name, row in index.items():
        senses = wordnet.senses(name)[:2]
        above = {
            word.lower() for sense in senses for parent in wordnet.ancestors(sense) for word in parent.words
        }
        same = {word.lower() for word in (senses[0].words if senses else ())}
        for word in (above | same) & index.keys():
            relation[row, index[word]] = relation[index[word], row] = 0
    relation.fill_diagonal_(1)
    return relation


def pseudo_features(
    data: PairData, classes: Tensor, base: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Move real views until the classifier sees the wanted classes: features and class logits.

    The step along the difference of two class weights is the smallest change that gives the wanted
    class a random lead over the class seen before; everything else of the real view stays.
    """
    pooled = data.views.pooled[base].float()
    logits = data.views.class_logits[base].float()
    seen = logits.argmax(dim=1)
    lead = 1.0 + 4.0 * torch.rand(len(base), generator=generator)
    moved = []
    for net, weights in enumerate(data.class_weights):
        top = pooled[:, net * _TOP_DIM : (net + 1) * _TOP_DIM]
        direction = weights[classes] - weights[seen]
        gap = logits.gather(1, seen[:, None])[:, 0] - logits.gather(1, classes[:, None])[:, 0] + lead
        step = gap / direction.square().sum(1).clamp(min=1e-3)
        moved.append((top + step[:, None] * direction).clamp(min=0))
    pooled = torch.cat([*moved, pooled[:, 2 * _TOP_DIM :]], dim=1)
    scores = (moved[0] @ data.class_weights[0].T + moved[1] @ data.class_weights[1].T) / 2 + data.class_bias
    return pooled, scores
