"""Measure heads on concepts or pictures that they never saw: zero-shot tasks and retrieval."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engines.bundled.recipe.cutouts import LOOKALIKE_BITS, Picture
from engines.bundled.recipe.dataset import Views
from engines.bundled.recipe.items import Item
from engines.bundled.recipe.train import Heads
from engines.bundled.recipe.wordnet import WordNet

NUM_FOLDS = 5
PROMPTS = ("{label}", "a photo of a {label}", "a drawing of a {label}")
_NUM_LABELS = {"animals": 24, "objects": 35, "drawings": 80}  # of the label sets that are drawn
_NUM_DRAWS = 20  # label sets drawn per fold
_MAX_NOUN_WORDS = 4  # of a noun that a caption may hold, such as "great white shark"


@dataclass(frozen=True, slots=True)
class Task:
    """Zero-shot classification of some pictures among the names of their concepts."""

    name: str
    pictures: Tensor  # indices
    labels: tuple[str, ...]
    target: Tensor  # per picture: index into labels


@dataclass(frozen=True, slots=True)
class Split:
    """By fold: what a model may be trained on, and what it is then measured on."""

    training: list[Tensor]  # [num_pictures] bool
    tasks: list[list[Task]]


def fold_of(name: str) -> int:
    """Assign a concept or a picture to one of NUM_FOLDS folds by its name alone."""
    return zlib.crc32(name.encode()) % NUM_FOLDS


def split_by_concept(pictures: Sequence[Picture], wordnet: WordNet) -> Split:
    """Hold out concepts; every label set names concepts that the measured model never saw.

    Nor does its training hold a picture whose caption names one of them, whose own noun can mean the same, or
    that looks like one of theirs: a bike may be a bicycle, and the drawing of a "fox face" is that of a fox.
    """
    folds = torch.tensor([fold_of(p.item.concept) for p in pictures])
    alike = _lookalikes(pictures)
    nouns = [_nouns(p.item, wordnet) for p in pictures]
    meanings = [{sense.offset for sense in wordnet.senses(p.item.concept)} for p in pictures]
    training, tasks = [], []
    for fold in range(NUM_FOLDS):
        measured = folds == fold
        own = torch.nonzero(measured)[:, 0].tolist()
        concepts = {pictures[i].item.concept for i in own}
        senses = set().union(*(meanings[i] for i in own))
        met = [
            not (concepts.isdisjoint(named) and senses.isdisjoint(meant))
            for named, meant in zip(nouns, meanings, strict=True)
        ]
        training.append(~(measured | torch.tensor(met) | (alike & measured).any(dim=1)))
        groups = _groups(own, pictures, wordnet)
        everything = [i for rows in groups.values() for i in rows]
        one_each = list({pictures[i].item.concept: i for i in sorted(everything, reverse=True)}.values())
        tasks.append(
            [
                _task("animals", groups["animals"], pictures),
                _task("objects", groups["objects"], pictures),
                _task("retrieval", one_each, pictures),
                *_drawn_tasks("drawings", groups["drawings"], pictures, fold),
            ]
        )
    return Split(training, tasks)


def split_by_picture(pictures: Sequence[Picture], wordnet: WordNet) -> Split:
    """Hold out pictures whose concepts the model met in other pictures, none of them a look-alike."""
    folds = torch.tensor([fold_of(p.item.key) for p in pictures])
    alike = _lookalikes(pictures)
    training, tasks = [], []
    for fold in range(NUM_FOLDS):
        seen = folds != fold
        training.append(seen)
        concepts = {pictures[i].item.concept for i in torch.nonzero(seen)[:, 0].tolist()}
        new = torch.nonzero(~seen & ~(alike & seen).any(dim=1))[:, 0].tolist()
        groups = _groups([i for i in new if pictures[i].item.concept in concepts], pictures, wordnet)
        tasks.append(
            [
                task
                for name, rows in groups.items()
                for task in _drawn_tasks(f"known_{name}", rows, pictures, fold)
            ]
        )
    return Split(training, tasks)


def _nouns(item: Item, wordnet: WordNet) -> set[str]:
    """Return the nouns in a picture's captions, in the singular."""
    lemmas: set[str | None] = {item.concept}
    for caption in item.captions:
        words = re.sub(r"[^a-z -]", " ", caption.lower()).split()
        for start in range(len(words)):
            for stop in range(start + 1, min(start + _MAX_NOUN_WORDS, len(words)) + 1):
                lemmas.add(wordnet.lemma(" ".join(words[start:stop])))
    return {lemma for lemma in lemmas if lemma is not None}


def _groups(rows: Sequence[int], pictures: Sequence[Picture], wordnet: WordNet) -> dict[str, list[int]]:
    """Part the pictures of things into photographed animals, other photographs and drawings."""
    groups: dict[str, list[int]] = {name: [] for name in _NUM_LABELS}
    for i in rows:
        item = pictures[i].item
        if _is_thing(item.concept, wordnet):
            photo = "animals" if "/animals/" in item.path else "objects"
            groups[photo if item.photo else "drawings"].append(i)
    return groups


def _drawn_tasks(name: str, rows: list[int], pictures: Sequence[Picture], seed: int) -> list[Task]:
    """Draw label sets among the concepts, each with all of its pictures."""
    generator = torch.Generator().manual_seed(seed)
    concepts = sorted({pictures[i].item.concept for i in rows})
    num_labels = _NUM_LABELS[name.removeprefix("known_")]
    tasks = []
    for _ in range(_NUM_DRAWS):
        picked = {concepts[i] for i in torch.randperm(len(concepts), generator=generator)[:num_labels]}
        tasks.append(_task(name, [i for i in rows if pictures[i].item.concept in picked], pictures))
    return tasks


def _lookalikes(pictures: Sequence[Picture]) -> Tensor:
    """Tell which pictures look alike, [n, n] bool: few of the 64 hash bits differ."""
    bits = torch.tensor([[p.dhash >> bit & 1 for bit in range(64)] for p in pictures]).float()
    signs = 2 * bits - 1
    return (64 - signs @ signs.T) / 2 <= LOOKALIKE_BITS


def _is_thing(concept: str, wordnet: WordNet) -> bool:
    return wordnet.is_a(wordnet.senses(concept)[0], "physical entity")


def _task(name: str, rows: list[int], pictures: Sequence[Picture]) -> Task:
    labels = tuple(sorted({pictures[i].item.concept for i in rows}))
    return Task(
        name, torch.tensor(rows), labels, torch.tensor([labels.index(pictures[i].item.concept) for i in rows])
    )


@torch.no_grad()
def embed_labels(labels: Sequence[str], heads: Heads, embed: Callable[[list[str]], Tensor]) -> Tensor:
    """Embed labels with the prompt ensemble: rows [n_labels, TEXT_DIM] of unit length."""
    rows = [heads.text(embed([prompt.format(label=label) for label in labels])) for prompt in PROMPTS]
    return functional.normalize(torch.stack(rows).mean(0), dim=-1)


@torch.no_grad()
def task_cosines(task: Task, views: Views, heads: Heads, embed: Callable[[list[str]], Tensor]) -> Tensor:
    """Compare the plain view of a task's pictures with its labels: [n_images, n_labels]."""
    rows = views.plain[task.pictures]
    images = heads.image(views.pooled[rows].float(), views.class_logits[rows].float())
    cosines: Tensor = images @ embed_labels(task.labels, heads, embed).T
    return cosines


def measure(tasks: Sequence[Task], cosines: Sequence[Tensor]) -> dict[str, float]:
    """Return top-1 and top-5 by task name; retrieval has one picture per text, so both directions count."""
    found: dict[str, list[tuple[float, int]]] = {}
    for task, similarities in zip(tasks, cosines, strict=True):
        for k in (1, 5):
            if task.name == "retrieval":
                found[f"image_to_text_recall_at_{k}"] = [(top_k(similarities, task.target, k), 1)]
                found[f"text_to_image_recall_at_{k}"] = [
                    (top_k(similarities[task.target.argsort()].T, _range(task), k), 1)
                ]
            else:
                scores = found.setdefault(f"{task.name}_top{k}", [])
                scores.append((top_k(similarities, task.target, k), len(task.pictures)))
    return {name: sum(s * n for s, n in scores) / sum(n for _, n in scores) for name, scores in found.items()}


def _range(task: Task) -> Tensor:
    return torch.arange(len(task.labels))


def top_k(similarities: Tensor, target: Tensor, k: int) -> float:
    """Return the share of rows [n, n_labels] whose target is among the k highest."""
    own = similarities.gather(1, target[:, None])
    return float(((similarities > own).sum(1) < k).float().mean())
