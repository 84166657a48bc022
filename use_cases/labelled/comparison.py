"""Some engines' embeddings of one dataset, brought to the images that all of them could read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engines.quality import Quality
from use_cases.labelled.embedding import ENSEMBLE, EmbeddedLabels
from use_cases.labelled.hashing import HashedSet
from use_cases.labelled.labelled import note_lonely
from use_cases.labelled.metrics import Truth
from use_cases.labelled.provenance import Provenance
from use_cases.ranking import cosines as cosines_of
from use_cases.zero_shot import Scores


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What was measured on."""

    name: str
    sha256: str  # of all images and labels that were found
    labels: tuple[str, ...]
    digests: tuple[str, ...]  # SHA-256 of the images that counted, in their order
    is_single: bool  # one label an image
    left_out: Mapping[str, str]  # images by name, and why
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """One model on one engine: who it is, and what embedding took."""

    model: str  # as it is to be called
    engine: str
    score: str  # "sigmoid" or "softmax"
    logit_scale: float
    logit_bias: float
    templates: tuple[str, ...]
    quality: Quality | None  # of a quantized engine: how close it is to float32, if that was measured
    provenance: Provenance
    num_truncated: int  # prompts of which the model read only the beginning
    num_reused_images: int  # whose embeddings an earlier run had kept
    num_reused_texts: int
    image_ms: float | None  # an image, by the clock, reading included; None when all were reused
    text_ms: float | None  # a prompt, likewise

    @property
    def title(self) -> str:
        """Return such as "siglit-mini on onnx-fp32"."""
        return f"{self.model} on {self.engine}"


@dataclass(frozen=True, slots=True)
class Compared:
    """A dataset and what the engines made of it; all rows are of the same images."""

    facts: DatasetFacts
    truth: Truth
    subjects: tuple[Subject, ...]
    cosines: tuple[Mapping[str, Scores], ...]  # [n_images, n_labels], by way of asking, for each subject


def compare_embedded(hashed: HashedSet, embedded: Sequence[tuple[str, EmbeddedLabels]]) -> Compared:
    """Compare engines on the images that all of them could read.

    Args:
        hashed: the dataset.
        embedded: a model's name, as it is to be called, and what its engine made of the dataset.
    """
    dataset = hashed.dataset
    unreadable = {position: why for _, each in embedded for position, why in each.unreadable.items()}
    readable = np.array([position not in unreadable for position in range(len(hashed.digests))])
    column_of = {label: column for column, label in enumerate(dataset.labels)}
    truth = np.zeros((len(hashed.digests), len(dataset.labels)), bool)
    for row, image in enumerate(dataset.images):
        truth[row, [column_of[label] for label in image.labels]] = True
    left_out = {dataset.images[position].name: why for position, why in sorted(unreadable.items())}
    used = truth[readable].any(axis=0)
    lonely = [label for label, is_used in zip(dataset.labels, used.tolist(), strict=True) if not is_used]
    facts = DatasetFacts(
        name=dataset.name,
        sha256=hashed.sha256,
        labels=dataset.labels,
        digests=tuple(np.array(hashed.digests)[readable].tolist()),
        is_single=bool((truth[readable].sum(axis=1) == 1).all()),
        left_out={**dataset.left_out, **left_out},
        notes=dataset.notes + note_lonely(lonely),
    )
    cosines = tuple(
        {way: cosines_of(each.images[readable], labels) for way, labels in each.labels.items()}
        for _, each in embedded
    )
    subjects = tuple(_subject(name, each) for name, each in embedded)
    return Compared(facts, truth[readable], subjects, cosines)


def _subject(name: str, embedded: EmbeddedLabels) -> Subject:
    return Subject(
        model=name,
        engine=embedded.engine,
        score=embedded.spec.score,
        logit_scale=embedded.spec.logit_scale,
        logit_bias=embedded.spec.logit_bias,
        templates=embedded.templates[ENSEMBLE],
        quality=embedded.quality,
        provenance=embedded.provenance,
        num_truncated=embedded.num_truncated,
        num_reused_images=embedded.num_reused_images,
        num_reused_texts=embedded.num_reused_texts,
        image_ms=1000 * embedded.image_s / embedded.num_images if embedded.num_images else None,
        text_ms=1000 * embedded.text_s / embedded.num_texts if embedded.num_texts else None,
    )
