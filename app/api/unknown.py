"""What is asked of the REST API and does not exist: a route, or a method of one."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from app.api.errors import error_response
from app.api.middleware.paths import route_path

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def refuse_unknown(api: FastAPI) -> None:
    """Answer for all routes below /v1/ that were not added before; else Gradio would, mounted at /."""

    @api.api_route("/v1/{path:path}", methods=_METHODS, include_in_schema=False)
    async def unknown(request: Request) -> JSONResponse:
        path = route_path(request.scope)
        allowed = [method.upper() for method in api.openapi()["paths"].get(path, ())]
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
