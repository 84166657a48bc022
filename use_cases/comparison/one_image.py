"""One image and many labels, asked of several models and engines side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from engines.errors import EngineError, InvalidInputError, UnknownModelError
from engines.pool import PooledEngine
from engines.preparation.images import ImageSource
from engines.preparation.source import SourceImage
from use_cases.comparison.columns import (
    Column,
    FailedColumn,
    ModelScores,
    TemplatesByScore,
    make_column,
    score_labels,
)
from use_cases.comparison.explain import explain
from use_cases.comparison.label_set import LabelSetChange, change_labels
from use_cases.comparison.templates import MAX_SPREAD_LABELS, TemplateSpread, spread_templates
from use_cases.images import read_image
from use_cases.zero_shot import check_labels, check_templates, min_image_side

MAX_COLUMNS = 12

# From the names of a model and an engine, empty for the model's best, to the running engine.
GetEngine: TypeAlias = Callable[[str, str], Awaitable[PooledEngine]]


class Contestant(NamedTuple):
    """A model on an engine, and the running engine or the reason why it does not run."""

    model: str
    engine: str  # as it was asked for; empty for the model's best
    pooled: PooledEngine | EngineError


@dataclass(frozen=True, slots=True)
class Comparison:
    """What all columns say about one image."""

    labels: tuple[str, ...]  # as they were asked
    columns: tuple[Column, ...]
    failed: tuple[FailedColumn, ...]
    explanation: str  # one sentence: why the columns differ
    label_set: tuple[LabelSetChange, ...]
    # One a column, but for those that failed; none for more than MAX_SPREAD_LABELS labels.
    template_spreads: tuple[TemplateSpread, ...]
    template_failures: tuple[FailedColumn, ...]  # columns that answered, but not with other templates


@asynccontextmanager
async def open_contestants(
    get: GetEngine, models: Sequence[str], engines: Sequence[str]
) -> AsyncIterator[list[Contestant]]:
    """Yield every model on every engine, each pair once, loading what is not loaded yet.

    What keeps one from running is its result, so that the others can answer. Those that run are not
    unloaded during the block.

    Args:
        get: returns a running engine.
        models: names.
        engines: names; an empty one, or none at all, for each model's best.

    Raises:
        InvalidInputError: when there are more than MAX_COLUMNS.
        UnknownModelError: when there is no model or engine of that name.
    """
    pairs = [(model, engine) for model in dict.fromkeys(models) for engine in dict.fromkeys(engines or [""])]
    if len(pairs) > MAX_COLUMNS:
        raise InvalidInputError(
            f"That makes {len(pairs)} columns; at most {MAX_COLUMNS} are compared, so choose fewer engines."
        )
    contestants: dict[tuple[str, str], Contestant] = {}
    with ExitStack() as keeping:
        for model, engine in pairs:
            try:
                pooled = await get(model, engine)
            except UnknownModelError:
                raise
            except EngineError as error:
                contestants[model, engine] = Contestant(model, engine, error)
            else:  # a model's best engine may be among the named ones
                keeping.enter_context(pooled.engine.keeping())
                contestants.setdefault((model, pooled.engine.engine.name), Contestant(model, engine, pooled))
        yield list(contestants.values())


def running_engines(contestants: Sequence[Contestant]) -> list[PooledEngine]:
    """Return the engines that run.

    Raises:
        EngineError: the first contestant's, when none runs.
    """
    running = [each.pooled for each in contestants if isinstance(each.pooled, PooledEngine)]
    if not running:
        _raise_first([each.pooled for each in contestants if isinstance(each.pooled, EngineError)])
    return running


async def read_for(contestants: Sequence[Contestant], source: ImageSource) -> SourceImage:
    """Read an image file at the size that the largest of the running models needs.

    Raises:
        InvalidInputError: when it cannot be read or decoded.
        EngineError: the first contestant's, when none runs.
    """
    running = running_engines(contestants)
    side = min_image_side([each.engine.spec for each in running])
    return await read_image(source, side, running[0].engine.worker.cache)


async def compare_image(
    contestants: Sequence[Contestant],
    image: SourceImage,
    labels: Sequence[str],
    templates: TemplatesByScore,
    distractor: str = "",
) -> Comparison:
    """Score every label for one image with every contestant; those that fail are listed with their reason.

    Args:
        contestants: as `open_contestants` yields them.
        image: decoded unless its embedding is known.
        labels: the classes, as texts.
        templates: prompt templates by kind of score; the model's own where there are none.
        distractor: one more label, of which is shown only what it does to the others; empty for none.

    Raises:
        InvalidInputError: when labels or templates cannot be used.
        EngineError: the first contestant's, when none answers.
    """
    checked = check_labels(labels)
    templates = {score: check_templates(each) for score, each in templates.items()}
    extra = [] if distractor.strip() in ("", *checked) else check_labels([distractor])
    scored: list[ModelScores] = []
    failed: list[FailedColumn] = []
    errors: list[EngineError] = []
    for model, engine, pooled in contestants:
        try:
            if isinstance(pooled, EngineError):
                raise pooled
            scored.append(await score_labels(pooled, image, [*checked, *extra], templates))
        except EngineError as error:
            errors.append(error)
            failed.append(FailedColumn(model, engine, str(error)))
    if not scored:
        _raise_first(errors)
    asked = [each.first(len(checked)) for each in scored]
    spreads, template_failures = await _spread_all(asked if len(checked) <= MAX_SPREAD_LABELS else [])
    columns = tuple(map(make_column, asked))
    return Comparison(
        labels=tuple(checked),
        columns=columns,
        failed=tuple(failed),
        explanation=explain(columns),
        label_set=tuple(change_labels(scored, *extra)),
        template_spreads=tuple(spreads),
        template_failures=tuple(template_failures),
    )


async def _spread_all(scored: Sequence[ModelScores]) -> tuple[list[TemplateSpread], list[FailedColumn]]:
    """Try other templates with each model; an answer is worth showing without them."""
    spreads: list[TemplateSpread] = []
    failed: list[FailedColumn] = []
    for scores in scored:
        try:
            spreads.append(await spread_templates(scores))
        except EngineError as error:
            failed.append(FailedColumn(scores.spec.name, scores.engine, str(error)))
    return spreads, failed


def _raise_first(errors: Sequence[EngineError]) -> None:
    if not errors:
        raise InvalidInputError("No model is chosen; choose at least one.")
    raise errors[0]
