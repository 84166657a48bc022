"""POST /v1/features: what a LLaVA-style projector takes."""

from __future__ import annotations

import io

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import Answer, facts_of, server_timing, to_base64
from app.api.bodies import read_body
from app.api.context import Context
from app.api.schemas import FeaturesBody
from engines.base import PatchFeatures
from engines.tracing import span


def build_features_router(context: Context) -> APIRouter:
    """Build the route around the shared engines."""
    router = APIRouter(tags=["inference"])

    @router.post("/v1/features", **context.documented(FeaturesBody, files="images"))
    @context.counted("features")
    async def features(request: Request) -> Response:
        """Return the patch features of images, [images, tokens, hidden] in float32.

        As base64 in JSON, as a NumPy file (`npy`) or as safetensors with the tensor `features`. Also takes a
        multipart form with files.
        """
        body = await read_body(request, FeaturesBody, files="images")
        pooled = await context.services.engine(body.model, body.engine)
        images = await context.reader([pooled]).read_usable(body.images, "images")
        found = await pooled.engine.embed_patches(images)
        timings_ms = {"decode": sum(image.decode_ms for image in images), **found.timings_ms}
        facts = facts_of(pooled)
        if body.format != "base64":
            headers = {
                "X-Model": facts["model"],
                "X-Engine": facts["engine"],
                "X-Cached": "false",
                **server_timing(timings_ms),
            }
            with span("respond"):
                file = _file(found.features, body.format)
            return Response(file, headers=headers, media_type="application/octet-stream")
        content = {
            "object": "features",
            **facts,
            "shape": list(found.features.shape),
            "dtype": "float32",
            "features": to_base64(found.features),
            "cached": False,
            "truncated": False,
        }
        return Answer(content, timings_ms)

    return router


def _file(features: PatchFeatures, file_format: str) -> bytes:
    if file_format == "safetensors":
        from safetensors.numpy import save

        return save({"features": np.ascontiguousarray(features)})
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    return buffer.getvalue()
