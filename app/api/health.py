"""GET /healthz and /readyz: whether the process lives, and whether it would answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from app.api.context import Context


def build_health_router(context: Context) -> APIRouter:
    """Build the routes around the shared engines."""
    router = APIRouter(tags=["health"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the process is alive and its event loop turns."""
        return {"status": "ok"}

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", responses={503: {"description": "loading, stalled or stopping"}})
    async def readyz() -> JSONResponse:
        """Tell whether every offered model answers, by its last engine call and by its canary."""
        health = await context.services.health()
        ready = all(each.is_ready for each in health) and not context.services.pool.is_draining
        body: dict[str, Any] = {
            "status": "ready" if ready else "stopping" if context.services.pool.is_draining else "not ready",
            "engines": [asdict(each) for each in health],
        }
        return JSONResponse(body, 200 if ready else 503)

    return router
