"""Measure heads on pictures of concepts they never saw: zero-shot tasks and retrieval."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engines.bundled.recipe.cutouts import Picture
from engines.bundled.recipe.dataset import Views
from engines.bundled.recipe.towers_onnx import SentenceEmbedder
from engines.bundled.recipe.train import Heads
from engines.bundled.recipe.wordnet import WordNet

NUM_FOLDS = 5
PROMPTS = ("{label}", "a photo of a {label}", "a drawing of a {label}")
_NUM_DRAWN_LABELS = 80
_NUM_DRAWS = 20  # label sets sampled for the drawings


@dataclass(frozen=True, slots=True)
class Task:
    """Zero-shot classification of some pictures among the names of their concepts."""

    name: str
    pictures: Tensor  # indices
    labels: tuple[str, ...]
    target: Tensor  # per picture: index into labels


def fold_of(concept: str) -> int:
    """Assign a concept to one of NUM_FOLDS folds by its name alone."""
    return zlib.crc32(concept.encode()) % NUM_FOLDS


def build_tasks(pictures: Sequence[Picture], fold: int, wordnet: WordNet) -> list[Task]:
    """Build the tasks of one held-out fold; every label set holds that fold's concepts only."""
    held_out = [i for i, p in enumerate(pictures) if fold_of(p.item.concept) == fold]
    thing = [i for i in held_out if _is_thing(pictures[i].item.concept, wordnet)]
    animals = [i for i in thing if pictures[i].item.photo and "/animals/" in pictures[i].item.path]
    objects = [i for i in thing if pictures[i].item.photo and i not in set(animals)]
    drawings = [i for i in thing if not pictures[i].item.photo]
    tasks = [_task("animals", animals, pictures), _task("objects", objects, pictures)]
    generator = torch.Generator().manual_seed(fold)
    concepts = sorted({pictures[i].item.concept for i in drawings})
    one_each = list({pictures[i].item.concept: i for i in reversed(thing)}.values())
    tasks.append(_task("retrieval", one_each, pictures))
    for _ in range(_NUM_DRAWS):
        picked = {concepts[i] for i in torch.randperm(len(concepts), generator=generator)[:_NUM_DRAWN_LABELS]}
        tasks.append(_task("drawings", [i for i in drawings if pictures[i].item.concept in picked], pictures))
    return tasks


def _is_thing(concept: str, wordnet: WordNet) -> bool:
    return wordnet.is_a(wordnet.senses(concept)[0], "physical entity")


def _task(name: str, rows: list[int], pictures: Sequence[Picture]) -> Task:
    labels = tuple(sorted({pictures[i].item.concept for i in rows}))
    return Task(
        name, torch.tensor(rows), labels, torch.tensor([labels.index(pictures[i].item.concept) for i in rows])
    )


@torch.no_grad()
def embed_labels(labels: Sequence[str], heads: Heads, embed: SentenceEmbedder) -> Tensor:
    """Embed labels with the prompt ensemble: rows [n_labels, TEXT_DIM] of unit length."""
    rows = [heads.text(embed([prompt.format(label=label) for label in labels])) for prompt in PROMPTS]
    return functional.normalize(torch.stack(rows).mean(0), dim=-1)


@torch.no_grad()
def task_cosines(task: Task, views: Views, heads: Heads, embed: SentenceEmbedder) -> Tensor:
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
