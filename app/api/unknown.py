"""What is asked of the REST API and does not exist: a route, or a method of one."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse
from starlette.routing import Match

from app.api.errors import error_response
from app.api.middleware.paths import route_path

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def refuse_unknown(api: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Answer for all routes below /v1/ that were not added before; else Gradio would, mounted at /.

    Args:
        api: the app.
        routers: what was added.
    """
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]

    @api.api_route("/v1/{path:path}", methods=_METHODS, include_in_schema=False)
    async def unknown(request: Request) -> JSONResponse:
        path = route_path(request.scope)
        allowed = sorted(
            {
                method
                for route in routes
                if route.matches(request.scope)[0] is not Match.NONE
                for method in route.methods or ()
            }
        )
        if allowed:
            return error_response(
                405,
                f"{request.method} is not possible here; use {' or '.join(allowed)}.",
                code="method_not_allowed",
                headers={"Allow": ", ".join(allowed)},
            )
        return error_response(
            404, f"There is no {path[:80]!r}; /docs lists what there is.", code="unknown_route"
        )
