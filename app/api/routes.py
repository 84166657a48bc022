"""The REST API: its routes, its errors and its description."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from app.api.classify import build_classify_router
from app.api.compare import build_compare_router
from app.api.context import Context
from app.api.embeddings import build_embeddings_router
from app.api.errors import install_error_handlers
from app.api.features import build_features_router
from app.api.health import build_health_router
from app.api.index import build_index_router
from app.api.models import build_models_router
from app.api.schemas import BODIES
from app.api.schemas_compare import CompareBody
from app.api.schemas_search import SearchBody
from app.api.search import build_search_router
from app.api.similarity import build_similarity_router
from app.api.unknown import refuse_unknown
from app.rights import RequestRights

_BODIES: tuple[type[BaseModel], ...] = (*BODIES, SearchBody, CompareBody)
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                **{name: {"type": "string"} for name in ("message", "type", "code")},
                "param": {"type": ["string", "null"]},
            },
        }
    },
}
_ROUTERS = (
    build_embeddings_router,
    build_classify_router,
    build_compare_router,
    build_similarity_router,
    build_features_router,
    build_search_router,
    build_index_router,
    build_models_router,
    build_health_router,
)


def add_routes(api: FastAPI, context: Context) -> None:
    """Add the REST routes to an app, and tell them and the page beside them what a request may do."""
    api.add_middleware(RequestRights, local_only=context.local_only, page_may_change=context.page_may_change)
    routers = [build(context) for build in _ROUTERS]
    for router in routers:
        api.include_router(router)

    @api.head("/metrics", include_in_schema=False)
    @api.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Return counters and histograms in Prometheus's text format."""
        return Response(context.services.metrics.render(), media_type="text/plain; version=0.0.4")

    refuse_unknown(api, routers)
    install_error_handlers(api)
    described: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not described:
            described.update(_describe(api))
        return described

    api.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _describe(api: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with the bodies that the routes read themselves."""
    description = get_openapi(
        title=api.title, version=api.version, description=api.description, routes=api.routes
    )
    _, definitions = models_json_schema(
        [(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}"
    )
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {**definitions["$defs"], "Error": _ERROR_SCHEMA}
    return description
