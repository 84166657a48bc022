"""What an engine's number format costs: retrieval and zero-shot on held-out pictures, paired with float32.

The pictures are those of the shipped gallery that neither the bundled models were trained on nor any
quantization was calibrated on. The resamples of an engine and of float32 are the same, so that the interval
of their difference does not contain what the choice of pictures does to both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.artifacts.store import default_cache_dir
from engines.base import Embeddings
from engines.gallery import GalleryImage, gallery
from engines.models import ModelSpec
from engines.quality import ensure_reference
from use_cases.benchmark_subjects import job_model
from use_cases.ranking import Ranks, best_ranks, cosines
from use_cases.resampling import Estimate, estimates
from use_cases.retrieval.metrics import image_to_text_ranks, resample, summarize, text_to_image_ranks
from use_cases.zero_shot import fill_template, label_embeddings

FIRST = "recall_at_1"
TASKS = ("text_to_image", "image_to_text", "zero_shot")


@dataclass(frozen=True, slots=True)
class HeldOutGallery:
    """Pictures, each with one caption and some of the labels."""

    pictures: tuple[GalleryImage, ...]
    labels: tuple[str, ...]
    own: NDArray[np.bool_]  # [n_pictures, n_labels]

    def prompts(self, spec: ModelSpec) -> list[str]:
        """Return the labels in all of a model's prompt templates, those of one label side by side."""
        return [fill_template(template, label) for label in self.labels for template in spec.prompt_templates]


@dataclass(frozen=True, slots=True)
class GalleryEmbeddings:
    """What one engine makes of a held-out gallery."""

    images: Embeddings  # [n_pictures, dim]
    captions: Embeddings  # [n_pictures, dim]
    labels: Embeddings  # [n_labels, dim], mean of their prompts


def held_out_gallery(most: int | None = None) -> HeldOutGallery:
    """Return the held-out pictures, or so many of them, spread evenly over the gallery.

    Zero-shot chooses among all tags of the gallery, however few pictures are taken.
    """
    unseen = [image for image in gallery() if not image.seen_in_training and image.split != "calibration"]
    if most is not None and most < len(unseen):
        unseen = [unseen[place] for place in np.linspace(0, len(unseen) - 1, most).round().astype(int)]
    labels = sorted({tag for image in gallery() for tag in image.tags})
    own = np.array([[label in image.tags for label in labels] for image in unseen])
    return HeldOutGallery(tuple(unseen), tuple(labels), own)


def split_embeddings(
    images: Embeddings, texts: Embeddings, held_out: HeldOutGallery, num_templates: int
) -> GalleryEmbeddings:
    """Take apart the embeddings of the pictures, and of their captions followed by the prompts."""
    count = len(held_out.pictures)
    return GalleryEmbeddings(images, texts[:count], label_embeddings(texts[count:], num_templates))


def measure_tasks(embedded: GalleryEmbeddings, held_out: HeldOutGallery) -> dict[str, Estimate]:
    """Return recall at 1 both ways, and how often the best label is right, with 95 % bootstrap intervals."""
    return {task: _estimate([ranks]) for task, ranks in _ranks(embedded, held_out).items()}


def measure_changes(
    engine: GalleryEmbeddings, reference: GalleryEmbeddings, held_out: HeldOutGallery
) -> dict[str, Estimate]:
    """Return the engine's figures minus float32's, with intervals of the paired difference."""
    own, exact = (_ranks(embedded, held_out) for embedded in (engine, reference))
    return {task: _estimate([own[task], exact[task]]) for task in TASKS}


def _ranks(embedded: GalleryEmbeddings, held_out: HeldOutGallery) -> Mapping[str, Ranks]:
    owners = np.arange(len(held_out.pictures))
    return {
        "text_to_image": text_to_image_ranks(embedded.images, embedded.captions, owners),
        "image_to_text": image_to_text_ranks(embedded.images, embedded.captions, owners),
        "zero_shot": best_ranks(cosines(embedded.images, embedded.labels), held_out.own),
    }


def _estimate(ranks: Sequence[Ranks]) -> Estimate:
    """Return recall at 1 of one engine's ranks, or the first's minus the second's."""
    owners = np.arange(len(ranks[0]))
    values = [summarize(each) for each in ranks]
    resampled = [resample(each, owners, len(owners)) for each in ranks]
    if len(ranks) == 1:
        return estimates(values[0], resampled[0])[FIRST]
    differences = {name: values[0][name] - values[1][name] for name in values[0]}
    return estimates(differences, resampled[0] - resampled[1])[FIRST]


def run_reference(job: dict[str, Any]) -> dict[str, Any]:
    """Return where the float32 vectors of the gate's samples are, computing them when they are missing.

    Raises:
        EngineError: when the model is not known or cannot be built.
    """
    return {"path": str(ensure_reference(job_model(job), default_cache_dir()))}
