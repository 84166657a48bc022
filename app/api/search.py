"""POST /v1/search: the images of a gallery that fit a text or an image; or the texts that fit an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request

from app.api.answers import Answer
from app.api.bodies import read_body
from app.api.context import Context
from app.api.errors import ApiError, error_body, status_of
from app.api.items import ItemReader
from app.api.schemas_search import FilterBody, QueryBody, SearchBody, search_from_form
from app.gallery_answers import answer_json
from app.gallery_search import Found, find_images, find_texts
from engines.errors import EngineError, InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.query import ImageQuery
from use_cases.timings import add_up

_MAX_RESULTS = 10_000  # of all queries and models together: memory holds them with their thumbnails
_MAX_THUMBNAILS = 1_000  # of 10 kB


def build_search_router(context: Context) -> APIRouter:
    """Build the route around the shared engines and galleries."""
    router = APIRouter(tags=["galleries"])

    @router.post("/v1/search", **_documented(context))
    @context.counted("search")
    async def search(request: Request) -> Answer:
        """Find the images of a gallery that fit a text, an image, or both; or the texts that fit an image.

        A query that cannot be answered has an `error` in its place, while the others have their `results`,
        one a model; if none can be answered, the answer is an error. All queries and models together may
        have 10,000 results, 1,000 with thumbnails. Also takes a multipart form, in which the fields of
        `query` and `filter` stand beside the others; several files are several queries.
        """
        body = await read_body(request, SearchBody, files="image", from_form=search_from_form)
        pooled = await context.services.engines(body.models or context.services.models[:1], body.engine)
        reader = context.reader(pooled)
        _check_counts(reader, body, len(pooled))
        images = await _read_images(reader, body.all_queries)
        found = iter(await _find(context, reader, body, pooled, images))
        outcomes = [_outcome(body, index, image, found) for index, image in enumerate(images)]
        problems = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        if len(problems) == len(outcomes):
            raise problems[0]  # there is no result to send beside it
        content = {
            "object": "list",
            "gallery": body.gallery,
            "data": [{"index": index, **_datum(outcome)} for index, outcome in enumerate(outcomes)],
            "models": [each.engine.spec.name for each in pooled],
            "engines": [each.engine.engine.name for each in pooled],
        }
        results = [outcome for outcome in outcomes if isinstance(outcome, list)]
        return Answer(content, add_up([one["timings_ms"] for result in results for one in result]))

    return router


def _documented(context: Context) -> dict[str, Any]:
    """Return the route's options; in a form the fields of nested objects stand beside the others."""
    options = context.documented(SearchBody, files="image")
    form = options["openapi_extra"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    for nested in ("query", "queries", "filter"):
        del form[nested]
    for name in (*QueryBody.model_fields, *FilterBody.model_fields):
        form.setdefault(name, {"type": "string"})
    options["responses"][404]["description"] = "unknown gallery, image, model or engine"
    return options


def _check_counts(reader: ItemReader, body: SearchBody, num_models: int) -> None:
    num_queries = len(body.all_queries)
    most = _MAX_THUMBNAILS if body.thumbnails else _MAX_RESULTS
    reader.check_count("queries", num_queries, reader.max_texts, "queries")
    reader.check_count("results asked for", num_queries * num_models * body.top_k, most, "top_k")


async def _read_images(
    reader: ItemReader, queries: Sequence[QueryBody]
) -> list[SourceImage | EngineError | None]:
    """Return each query's image, why it cannot be used, or None where there is none."""
    given = [query.image for query in queries if query.image is not None]
    read = iter(await reader.read_images(given, "queries"))
    return [None if query.image is None else next(read) for query in queries]


async def _find(
    context: Context,
    reader: ItemReader,
    body: SearchBody,
    pooled: Sequence[PooledEngine],
    images: Sequence[SourceImage | EngineError | None],
) -> list[tuple[Found, ...]]:
    """Return what each model found for each query whose image can be used."""
    if body.find == "texts":
        texts = reader.check_texts(body.texts, "texts")
        usable = [image for image in images if isinstance(image, SourceImage)]
        return await find_texts(context.services, body.gallery, pooled, usable, texts, body.top_k)
    where = ImageFilter(**body.filter.model_dump(exclude={"hide_duplicates"}))
    queries = [
        ImageQuery(
            **query.model_dump(exclude={"image"}),
            image=image,
            top_k=body.top_k,
            offset=body.offset,
            min_score=body.min_score,
            where=where,
            hide_duplicates=body.filter.hide_duplicates,
        )
        for query, image in zip(body.all_queries, images, strict=True)
        if not isinstance(image, EngineError)
    ]
    return await find_images(context.services, body.gallery, pooled, queries)


def _outcome(
    body: SearchBody,
    index: int,
    image: SourceImage | EngineError | None,
    found: Iterator[tuple[Found, ...]],
) -> list[dict[str, Any]] | ApiError:
    """Return one query's results, taken from those that are left, or what is wrong with it."""
    param = "query" if body.query else f"queries[{index}]"
    if isinstance(image, EngineError):
        return _problem(image, f"{param}.image", 422 if isinstance(image, InvalidInputError) else None)
    results: list[dict[str, Any]] = []
    for answer in next(found):
        if isinstance(answer, EngineError):
            return _problem(answer, param)
        results.append(answer_json(answer, thumbnails=body.thumbnails))
    return results


def _problem(error: EngineError, param: str, status: int | None = None) -> ApiError:
    return ApiError(status or status_of(error), f"{param}: {error}", code=error.code, param=param)


def _datum(outcome: list[dict[str, Any]] | ApiError) -> dict[str, Any]:
    if isinstance(outcome, ApiError):
        return error_body(outcome.status, str(outcome), code=outcome.code, param=outcome.param)
    return {"results": outcome}
