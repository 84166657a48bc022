"""POST /v1/classify: images against labels, with one model or several."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request

from app.api.answers import Answer
from app.api.bodies import read_body
from app.api.context import Context
from app.api.errors import ApiError, code_of, error_body, status_of
from app.api.schemas import ClassifyBody
from engines.errors import EngineError, InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.timings import add_up, longest
from use_cases.zero_shot import Classification, check_labels, check_templates, classify


def build_classify_router(context: Context) -> APIRouter:
    """Build the route around the shared engines."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/classify", **context.documented(ClassifyBody))
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
        images = await context.reader(pooled).read_images(body.images, "images")
        answers = await asyncio.gather(*(_classify(pooled, image, labels, templates) for image in images))
        results = [answer for answer in answers if isinstance(answer, list)]
        for each, *scored in zip(pooled, *results, strict=True):
            context.services.metrics.stages(each, longest([one.timings_ms for one in scored]))
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
        return Answer(content, longest([add_up([one.timings_ms for one in result]) for result in results]))

    return router


async def _classify(
    pooled: Sequence[PooledEngine],
    image: SourceImage | EngineError,
    labels: Sequence[str],
    templates: Sequence[str],
) -> list[Classification] | EngineError:
    """Score one image with each model; what is wrong with the image alone is its answer.

    Raises:
        EngineError: what is wrong with more than the image.
    """
    if isinstance(image, EngineError):
        return image
    try:
        return [(await classify(each, [image], labels, templates))[0] for each in pooled]
    except InvalidInputError as error:
        return error


def _datum(index: int, answer: list[Classification] | EngineError) -> dict[str, Any]:
    if isinstance(answer, EngineError):
        error = error_body(422, str(answer), code=code_of(answer), param=f"images[{index}]")
        return {"index": index, **error}
    return {"index": index, "results": answer}


def _refuse(answers: Sequence[list[Classification] | EngineError]) -> None:
    """Raise the first image's error; there is no result to send beside it."""
    first = answers[0]
    assert isinstance(first, EngineError)
    status = 422 if isinstance(first, InvalidInputError) else status_of(first)
    raise ApiError(status, f"images[0]: {first}", code=code_of(first), param="images[0]") from first
