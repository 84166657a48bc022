"""POST /v1/compare: one image against labels, with several models and engines side by side."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from app.api.answers import Answer
from app.api.bodies import read_body
from app.api.context import Context
from app.api.errors import ApiError
from app.api.schemas_compare import CompareBody
from app.compare_answers import comparison_answer
from use_cases.comparison.one_image import open_contestants, running_engines
from use_cases.timings import add_up
from use_cases.zero_shot import check_labels, check_templates


def build_compare_router(context: Context) -> APIRouter:
    """Build the route around the shared engines."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/compare", **context.documented(CompareBody, files="image"))
    @context.counted("compare")
    async def compare_image(request: Request) -> Answer:
        """Score every label for one image with every model on every engine, and explain the differences.

        Each of the `columns` has of every label its rank, sigmoid (for models that were trained with one),
        softmax over the same logits, cosine and logit, best first. A model or engine that fails is listed
        under `failed` while the others answer; if all fail, the answer is an error. `explanation` is one
        sentence, computed from the numbers. `label_set` and `template_spreads` tell how much the scores
        depend on the other labels and on the prompt template; the latter for at most 50 labels. With
        `mistakes` the request is also prepared wrongly on purpose. Also takes a multipart form with a file.
        """
        body = await read_body(request, CompareBody, files="image", from_form=_one_image)
        services = context.services
        labels, templates = check_labels(body.labels), _templates(body)
        models = body.models or list(services.models)
        async with open_contestants(services.engine, models, body.engines) as contestants:
            reader = context.reader(running_engines(contestants))
            reader.check_count("labels", len(labels), reader.max_texts, "labels")
            (image,) = await reader.read_usable([body.image], "image")
            answer = await comparison_answer(
                contestants,
                image,
                labels,
                templates,
                distractor=body.distractor,
                mistakes=body.mistakes,
            )
        return Answer(answer, add_up([column["timings_ms"] for column in answer["columns"]]))

    return router


def _one_image(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the one image out of the list that a form makes of its files."""
    images = fields.pop("image", [])
    if len(images) > 1:
        message = f"There are {len(images)} images; a comparison takes one."
        raise ApiError(422, message, code="invalid_parameter", param="image")
    return {**fields, **({"image": images[0]} if images else {})}


def _templates(body: CompareBody) -> dict[str, list[str]]:
    chosen = {
        "sigmoid": body.sigmoid_templates or body.templates,
        "softmax": body.softmax_templates or body.templates,
    }
    return {score: check_templates(templates) for score, templates in chosen.items()}
