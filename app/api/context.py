"""Context: what the REST routes share."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel

from app.api.errors import ApiError
from app.api.items import ItemReader
from app.rights import may
from app.services import Services
from app.settings import Right, Settings
from engines.pool import PooledEngine
from use_cases.retrieval.errors import IndexNotAllowedError
from use_cases.zero_shot import min_image_side

P = ParamSpec("P")
R = TypeVar("R")

_PROBLEMS = {
    400: "not readable",
    401: "no valid API key",
    404: "unknown model or engine",
    409: "the engine is too far from float32 for this model",
    413: "too large, or too many items",
    415: "neither JSON nor a form",
    422: "a parameter or an item cannot be used; the message names it",
    429: "too many requests, or the queue is full; see Retry-After",
    500: "the engine failed",
    503: "the model cannot be loaded, or the server is stopping",
    504: "the deadline has passed",
}
_ERROR = {"schema": {"$ref": "#/components/schemas/Error"}}


@dataclass(frozen=True, slots=True)
class Context:
    """The services, and the limits of a request."""

    services: Services
    max_images: int
    max_texts: int
    max_body_bytes: int  # which also limits what the URLs in a body bring
    allow_urls: bool
    cors_origins: tuple[str, ...]
    local_only: frozenset[Right]  # what only requests from this machine may do
    page_may_change: bool  # whether the page may do any of it

    @classmethod
    def of(cls, settings: Settings, services: Services) -> Context:
        """Take the limits from the settings."""
        return cls(
            services,
            settings.max_images,
            settings.max_texts,
            int(settings.max_body_mb * 1e6),
            settings.allow_urls,
            settings.cors_origins,
            settings.local_only,
            # Keys do not guard the page, and what needs one here must not be possible there without.
            page_may_change=not settings.api_keys or settings.auth is not None,
        )

    def reader(self, pooled: Sequence[PooledEngine]) -> ItemReader:
        """Return a reader of images for some engines."""
        return ItemReader(
            max_images=self.max_images,
            max_texts=self.max_texts,
            allow_urls=self.allow_urls,
            max_fetched_bytes=self.max_body_bytes,
            min_side=min_image_side([each.engine.spec for each in pooled]),
            cache=self.services.pool.worker.cache,
        )

    def check_change(self, request: Request) -> None:
        """Refuse to change galleries for strangers, and for other sites' pages: browsers send forms unasked.

        Raises:
            ApiError: 403 when the request comes from such a page.
            IndexNotAllowedError: when the server lets nobody change them, or nobody but this machine.
        """
        origin = request.headers.get("origin", "")
        try:
            own = urlsplit(origin).netloc == request.headers.get("host")
        except ValueError:  # no URL at all
            own = False
        if origin and not own and origin not in self.cors_origins and "*" not in self.cors_origins:
            message = "Pages of other sites may change nothing here, unless SIGLIP_CORS_ORIGINS names them."
            raise ApiError(403, message, code="other_site")
        if not self.services.gallery_options.may_change:
            raise IndexNotAllowedError("This server lets nobody change its galleries.")
        if not may(request, "indexing"):
            raise IndexNotAllowedError(
                "This server lets only its own machine change galleries; see SIGLIP_ALLOW_INDEXING."
            )

    def counted(self, operation: str) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Return a decorator that counts the requests that a route gets, and how they end."""

        def decorate(route: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            @functools.wraps(route)
            async def counted(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.services.metrics.request("rest", operation):
                    return await route(*args, **kwargs)

            return counted

        return decorate

    def documented(self, schema: type[BaseModel], files: str) -> dict[str, Any]:
        """Return a route's options that describe its body, which it reads itself, and its errors.

        Args:
            schema: of the body in JSON.
            files: the field that takes the files of a multipart form.
        """
        reference = {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}
        fields: dict[str, Any] = {name: {"type": "string"} for name in schema.model_fields}
        fields[files] = {"type": "array", "items": {"type": "string", "format": "binary"}}
        form = {"schema": {"type": "object", "properties": fields}}
        content = {"application/json": reference, "multipart/form-data": form}
        return {
            "openapi_extra": {"requestBody": {"required": True, "content": content}},
            "responses": {
                status: {"description": text, "content": {"application/json": _ERROR}}
                for status, text in _PROBLEMS.items()
            },
        }
