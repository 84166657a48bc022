"""GET /v1/models: what this server offers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from app.api.context import Context
from app.api.errors import ApiError
from engines.factory import ENGINES
from engines.loading import EngineKey


def build_models_router(context: Context) -> APIRouter:
    """Build the routes around the shared engines."""
    router = APIRouter(tags=["models"])

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """List the offered models with their facts, their engines, and how close these are to float32."""
        return {
            "object": "list",
            "data": [await _describe(context, name) for name in context.services.models],
        }

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """Describe one offered model."""
        if name not in context.services.models:
            offered = ", ".join(context.services.models)
            raise ApiError(
                404, f"Unknown model {name[:80]!r}; this server offers {offered}.", code="unknown_model"
            )
        return await _describe(context, name)

    return router


async def _describe(context: Context, name: str) -> dict[str, Any]:
    pool = context.services.pool
    spec = await pool.spec(name)
    default = await pool.key(name, context.services.default_engine)
    engines = [EngineKey(name, engine) for engine, entry in ENGINES.items() if spec.family in entry.families]
    return {
        "id": name,
        "object": "model",
        "created": 0,  # OpenAI's clients expect it; nobody here knows when a model was made
        "owned_by": "siglip-as-server",
        "family": spec.family,
        "dim": spec.dim,
        "score": spec.score,
        "image_size": spec.image_size,
        "context_length": spec.context_length,
        "prompt_templates": list(spec.prompt_templates),
        "default_engine": default.engine,
        "engines": [await _describe_engine(context, key) for key in engines],
    }


async def _describe_engine(context: Context, key: EngineKey) -> dict[str, Any]:
    entry = ENGINES[key.engine]
    quality = await context.services.pool.quality(key) if entry.gate else None
    return {
        "name": key.engine,
        "loaded": key in context.services.pool.running,
        "note": entry.note,
        "quality": asdict(quality) if quality else None,
        "passes_gate": None if not (entry.gate and quality) else not entry.gate.failures(quality),
    }
