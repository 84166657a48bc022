"""The REST routes."""

from __future__ import annotations

from fastapi import APIRouter

from app.services import Services


def build_router(services: Services) -> APIRouter:
    """Build the routes that are served beside the Gradio app."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the process is alive and its event loop turns."""
        return {"status": "ok"}

    return router
