"""POST /v1/classify: images against labels, with one model or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request

from app.api.answers import Answer
from app.api.bodies import read_body
from app.api.context import Context
from app.api.errors import ApiError, error_body, status_of
from app.api.schemas import ClassifyBody
from engines.errors import EngineError, InferenceError, InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.timings import add_up
from use_cases.zero_shot import Classification, check_labels, check_templates, classify


def build_classify_router(context: Context) -> APIRouter:
    """Build the route around the shared engines."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/classify", **context.documented(ClassifyBody, files="images"))
    @context.counted("classify")
    async def classify_images(request: Request) -> Answer:
        """Score every label for every image: probability, logit and cosine, best first.

        An image that cannot be used has an `error` in its place, while the others have their `results`; if
        none can be used, the answer is an error. Also takes a multipart form with files.
        """
        body = await read_body(request, ClassifyBody, files="images")
        labels, templates = check_labels(body.labels), check_templates(body.templates)
        models = body.models or list(context.services.models)
        pooled = await context.services.engines(models, body.engine)
        reader = context.reader(pooled)
        reader.check_count("labels", len(labels), reader.max_texts, "labels")
        images = await reader.read_images(body.images, "images")
        answers = await _score(pooled, images, labels, templates)
        results = [answer for answer in answers if isinstance(answer, list)]
        if not results:
            _refuse(answers)
        content = {
            "object": "list",
            "data": [_datum(index, answer) for index, answer in enumerate(answers)],
            "models": [each.engine.spec.name for each in pooled],
            "engines": [each.engine.engine.name for each in pooled],
            "cached": all(one.image_cached and one.labels_cached for result in results for one in result),
            "truncated": any(one.truncated for result in results for one in result),
        }
        return Answer(content, add_up([one.timings_ms for result in results for one in result]))

    return router


async def _score(
    pooled: Sequence[PooledEngine],
    images: Sequence[SourceImage | EngineError],
    labels: Sequence[str],
    templates: Sequence[str],
) -> list[list[Classification] | EngineError]:
    """Score the images with each model; what is wrong with one image alone is its answer.

    Raises:
        EngineError: what is wrong with more than an image.
    """
    usable = [image for image in images if isinstance(image, SourceImage)]
    answers: Iterator[list[Classification] | EngineError]
    try:
        by_model = [await classify(each, usable, labels, templates) for each in pooled] if usable else []
        answers = iter([list(of_image) for of_image in zip(*by_model, strict=True)])
    except (InvalidInputError, InferenceError):  # which image was it?
        answers = iter([await _score_alone(pooled, image, labels, templates) for image in usable])
    return [image if isinstance(image, EngineError) else next(answers) for image in images]


async def _score_alone(
    pooled: Sequence[PooledEngine], image: SourceImage, labels: Sequence[str], templates: Sequence[str]
) -> list[Classification] | EngineError:
    try:
        return [(await classify(each, [image], labels, templates))[0] for each in pooled]
    except (InvalidInputError, InferenceError) as error:
        return error


def _status(error: EngineError) -> int:
    """Return what an image's error would be as an answer: its content is at fault, or the engine."""
    return 422 if isinstance(error, InvalidInputError) else status_of(error)


def _datum(index: int, answer: list[Classification] | EngineError) -> dict[str, Any]:
    if isinstance(answer, EngineError):
        error = error_body(_status(answer), str(answer), code=answer.code, param=f"images[{index}]")
        return {"index": index, **error}
    return {"index": index, "results": answer}


def _refuse(answers: Sequence[list[Classification] | EngineError]) -> None:
    """Raise the first image's error; there is no result to send beside it."""
    first = answers[0]
    assert isinstance(first, EngineError)
    raise ApiError(_status(first), f"images[0]: {first}", code=first.code, param="images[0]") from first
