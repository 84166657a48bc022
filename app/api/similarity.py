"""POST /v1/similarity: every image against every text."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.api.answers import Answer, facts_of
from app.api.bodies import read_body
from app.api.context import Context
from app.api.schemas import SimilarityBody
from use_cases.similarity import compare


def build_similarity_router(context: Context) -> APIRouter:
    """Build the route around the shared engines."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/similarity", **context.documented(SimilarityBody, files="images"))
    @context.counted("similarity")
    async def similarity(request: Request) -> Answer:
        """Return the matrices [images, texts] of cosines, logits and scores; texts are taken as they are.

        Scores are probabilities: of each text on its own (sigmoid), or over all texts (softmax).
        Also takes a multipart form with files.
        """
        body = await read_body(request, SimilarityBody, files="images")
        pooled = await context.services.engine(body.model, body.engine)
        reader = context.reader([pooled])
        texts = reader.check_texts(body.texts, "texts")
        images = await reader.read_usable(body.images, "images")
        found = await compare(pooled, images, texts)
        content = {
            "object": "similarity",
            **facts_of(pooled),
            "score": pooled.engine.spec.score,
            "cosines": found.cosines,
            "logits": found.logits,
            "scores": found.scores,
            "cached": all(found.images_cached) and all(found.texts_cached),
            "truncated": list(found.truncated),
        }
        return Answer(content, found.timings_ms)

    return router
