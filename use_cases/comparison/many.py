"""Many images against many texts, with several models and engines side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np

from engines.errors import EngineError, InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.quality import Quality
from use_cases.comparison.agreement import PairAgreement, agreement
from use_cases.comparison.calibration import Calibration, calibrate
from use_cases.comparison.pairs import NamedImage, is_in_order, own_texts, pair_notes
from use_cases.images import PixelBudget, read_image
from use_cases.labelled.metrics import Truth
from use_cases.retrieval.thumbnails import encode_thumbnail, shrink
from use_cases.similarity import Similarity, compare
from use_cases.zero_shot import MAX_LABEL_CHARS, Scores, min_image_side

MAX_IMAGES, MAX_TEXTS, MAX_COLUMNS = 50, 200, 6
OpenEngine: TypeAlias = Callable[[str, str], Awaitable[PooledEngine]]  # of a model and an engine's name


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyQuestion:
    """What is to be compared with what, by whom."""

    images: tuple[NamedImage, ...]
    texts: tuple[str, ...] = ()  # none: the images' captions
    columns: tuple[tuple[str, str], ...]  # model, and engine or "" for the server's choice
    in_order: bool = True  # text i describes image i, where there are as many of both; some may be the same


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyColumn:
    """One model on one engine."""

    pooled: PooledEngine  # that answered; it may be unloaded by now
    similarity: Similarity
    found: float | None  # share of images whose best text is their own; of those that have one; see `_found`
    calibration: Calibration | None

    @property
    def model(self) -> str:
        """Return the model's name."""
        return self.pooled.engine.spec.name

    @property
    def engine(self) -> str:
        """Return the engine's name."""
        return self.pooled.engine.engine.name

    @property
    def quality(self) -> Quality | None:
        """Return how close a quantized engine is to float32, if that was measured."""
        return self.pooled.quality

    @property
    def score(self) -> str:
        """Return "sigmoid" or "softmax"."""
        return self.pooled.engine.spec.score

    @property
    def name(self) -> str:
        """Return what the column is called."""
        return f"{self.model} on {self.engine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyComparison:
    """The answers of all models that could give one, for the images that could be read."""

    images: tuple[NamedImage, ...]
    thumbnails: tuple[bytes, ...]  # JPEG, one an image
    texts: tuple[str, ...]
    truth: Truth | None  # [n_images, n_texts]; None when no text is known to describe an image
    columns: tuple[ManyColumn, ...]
    agreements: dict[tuple[int, int], PairAgreement]  # by the positions of two columns
    unreadable: dict[str, str]  # images that were left out, and why; by name, see `_each_once`
    failures: dict[str, str]  # columns without an answer, and why
    notes: tuple[str, ...]

    @property
    def num_known(self) -> int:
        """Return how many images have a text of their own: those that accuracy and calibration are of."""
        return 0 if self.truth is None else int(self.truth.any(axis=1).sum())


async def compare_many(question: ManyQuestion, open_engine: OpenEngine) -> ManyComparison:
    """Score every text for every image with one column after the other.

    An image that cannot be read and a column that fails are left out and named with their reason. No engine
    is unloaded before all have answered.

    Raises:
        InvalidInputError: when there are no or too many images, texts or columns, a text is too long, no
            image can be read, or no engine can be loaded.
        EngineError: the first column's of those that were loaded, when none of them answers.
    """
    _check(question)
    failures: dict[str, str] = {}
    opened: list[PooledEngine] = []
    with ExitStack() as keeping:
        for model, engine in question.columns:
            try:
                opened.append(await open_engine(model, engine))
            except EngineError as error:
                failures[_column_name(model, engine)] = str(error)
            else:
                keeping.enter_context(opened[-1].engine.keeping())
        if not opened:
            raise InvalidInputError(f"No model can answer: {' '.join(failures.values())}")
        return await _compare(question, _without_repetitions(opened), failures)


async def _compare(
    question: ManyQuestion, opened: Sequence[PooledEngine], failures: dict[str, str]
) -> ManyComparison:
    """Ask engines that are kept; to the failures are added those that fail."""
    sources, unreadable = await _read(question.images, opened)
    images = tuple(image for place, image in enumerate(question.images) if place in sources)
    typed = question.texts or _captions(images)
    texts = tuple(dict.fromkeys(typed))
    in_order = is_in_order(question.images, typed, in_order=question.in_order)
    truth = own_texts(question.images, texts, typed if in_order else None)
    if truth is not None:
        truth = truth[list(sources)]
        if not truth.any():  # the images that texts describe are those that cannot be read
            truth = None
    columns: list[ManyColumn] = []
    errors: list[EngineError] = []
    for pooled in opened:
        try:
            columns.append(_column(pooled, await compare(pooled, list(sources.values()), texts), truth))
        except EngineError as error:
            errors.append(error)
            failures[_column_name(pooled.engine.spec.name, pooled.engine.engine.name)] = str(error)
    if not columns:  # nothing to draw; the page keeps what it shows
        raise errors[0]
    return ManyComparison(
        images=images,
        thumbnails=tuple(await asyncio.to_thread(_thumbnails, list(sources.values()))),
        texts=texts,
        truth=truth,
        columns=tuple(columns),
        agreements={
            (i, j): agreement(columns[i].similarity.cosines, columns[j].similarity.cosines)
            for i, j in combinations(range(len(columns)), 2)
        },
        unreadable=unreadable,
        failures=failures,
        notes=tuple(pair_notes(truth, in_order=in_order)),
    )


def _check(question: ManyQuestion) -> None:
    if not question.images:
        raise InvalidInputError(
            "There are no images; drop some, pick some of the gallery, or try the example."
        )
    if not question.columns:
        raise InvalidInputError("No model is chosen; choose at least one.")
    counts = (
        ("images", len(question.images), MAX_IMAGES),
        ("texts", len(question.texts), MAX_TEXTS),
        ("pairs of model and engine", len(question.columns), MAX_COLUMNS),
    )
    for noun, count, most in counts:
        if count > most:
            raise InvalidInputError(f"There are {count:,} {noun}; at most {most} are compared at once.")
    for text in question.texts:
        _check_length(f"text {text[:30]!r}...", text)


def _check_length(what: str, text: str) -> None:
    if len(text) > MAX_LABEL_CHARS:
        raise InvalidInputError(
            f"The {what} has {len(text):,} characters; at most {MAX_LABEL_CHARS:,} may be."
        )


def _captions(images: Sequence[NamedImage]) -> tuple[str, ...]:
    """Return the captions of the images that have one.

    Raises:
        InvalidInputError: when none has one, or one is too long.
    """
    captioned = [image for image in images if image.caption]
    if not captioned:
        raise InvalidInputError(
            "There are no texts; type some, one a line, or add text files with captions, such as photo.txt"
            " for photo.jpg."
        )
    for image in captioned:
        _check_length(f"caption of {image.name!r}", image.caption)
    return tuple(image.caption for image in captioned)


def _column_name(model: str, engine: str) -> str:
    return f"{model} on {engine or 'its best engine'}"


def _without_repetitions(opened: Sequence[PooledEngine]) -> list[PooledEngine]:
    """Return each engine once; the server's choice may be one that was also named."""
    return list({id(pooled.engine): pooled for pooled in opened}.values())


async def _read(
    images: Sequence[NamedImage], opened: Sequence[PooledEngine]
) -> tuple[dict[int, SourceImage], dict[str, str]]:
    """Decode what can be decoded, once for all columns; return it by position, and why the others cannot."""
    cache, budget = opened[0].engine.worker.cache, PixelBudget()
    side = min_image_side([pooled.engine.spec for pooled in opened])
    sources: dict[int, SourceImage] = {}
    unreadable: dict[str, str] = {}
    for place, (name, image) in enumerate(zip(_each_once(images), images, strict=True)):
        try:
            sources[place] = await read_image(image.path, side, cache, budget)
        except InvalidInputError as error:
            unreadable[name] = str(error)
    if not sources:
        raise InvalidInputError(
            f"None of the images can be read; the first: {next(iter(unreadable.values()))}"
        )
    return sources, unreadable


def _each_once(images: Sequence[NamedImage]) -> list[str]:
    """Return the images' names without repetitions: the second image.jpg is "image.jpg (2)"."""
    names: list[str] = []
    for image in images:
        name, number = image.name, 1
        while name in names:
            number += 1
            name = f"{image.name} ({number})"
        names.append(name)
    return names


def _thumbnails(sources: Sequence[SourceImage]) -> list[bytes]:
    return [encode_thumbnail(shrink(source.decode())) for source in sources]


def _column(pooled: PooledEngine, similarity: Similarity, truth: Truth | None) -> ManyColumn:
    return ManyColumn(
        pooled=pooled,
        similarity=similarity,
        found=None if truth is None else _found(similarity.cosines, truth),
        calibration=None if truth is None else calibrate(similarity.logits, truth, pooled.engine.spec.score),
    )


def _found(cosines: Scores, truth: Truth) -> float | None:
    """Return how many of the images with a text of their own have it first; None for a single text.

    That one comes first whatever the image.
    """
    if truth.shape[1] < 2:
        return None
    known = truth.any(axis=1)
    best = cosines.argmax(axis=1)
    return float(truth[np.arange(len(best)), best][known].mean())
