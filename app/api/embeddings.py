"""POST /v1/embeddings: OpenAI's endpoint, for images too."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from app.api.answers import Answer, facts_of, to_base64
from app.api.bodies import read_body
from app.api.context import Context
from app.api.errors import ApiError
from app.api.schemas import EmbeddingsBody, Item
from use_cases.embedding import embed_items


def build_embeddings_router(context: Context) -> APIRouter:
    """Build the route around the shared engines."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/embeddings", **context.documented(EmbeddingsBody, files="input"))
    @context.counted("embeddings")
    async def embeddings(request: Request) -> Answer:
        """Embed texts and images, as OpenAI's clients ask for it.

        Also takes a multipart form: the fields of the JSON body, `input` several times for texts, and files.
        """
        body = await read_body(request, EmbeddingsBody, files="input", from_form=_with_number)
        items = _items(body)
        pooled = await context.services.engine(body.model or "", body.engine)
        sources = await context.reader([pooled]).read_all(items, "input")
        embedded = await embed_items(pooled, sources, body.dimensions)
        encode = to_base64 if body.encoding_format == "base64" else lambda row: row
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": encode(row),
                "modality": "text" if isinstance(source, str) else "image",
                "cached": cached,
                "truncated": truncated,
            }
            for index, (row, source, cached, truncated) in enumerate(
                zip(embedded.embeddings, sources, embedded.cached, embedded.truncated, strict=True)
            )
        ]
        num_tokens = sum(embedded.num_tokens)
        content = {
            "object": "list",
            "data": data,
            **facts_of(pooled),
            "dim": embedded.embeddings.shape[1],
            "normalized": True,
            "cached": all(embedded.cached),
            "truncated": any(embedded.truncated),
            "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
        }
        return Answer(content, embedded.timings_ms)

    return router


def _with_number(form: dict[str, Any]) -> dict[str, Any]:
    """Make a number of `dimensions`, which is text in a form; what is none is refused with the rest."""
    dimensions = form.get("dimensions")
    if isinstance(dimensions, str) and dimensions.isascii() and dimensions.isdigit():
        return form | {"dimensions": int(dimensions)}
    return form


def _items(body: EmbeddingsBody) -> list[Item]:
    items = body.input if isinstance(body.input, list) else [body.input]
    if not items:
        raise ApiError(
            422, "The list `input` is empty; send at least one item.", code="empty_input", param="input"
        )
    return items
