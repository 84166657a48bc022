"""All middleware around the app, in the right order."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.api.middleware.access_log import AccessLog
from app.api.middleware.api_keys import ApiKeys
from app.api.middleware.body_limit import BodyLimit
from app.api.middleware.rate_limit import RateLimit
from app.api.middleware.scope import RequestScope
from app.metrics import Metrics
from app.settings import Settings

_EVENTS = ("/gradio_api/call/", "/gradio_api/queue/", "/gradio_api/run/", "/gradio_api/api/")
_MAX_EVENT_BYTES = 4_000_000  # more than the longest list of labels


def add_middleware(api: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Wrap an app; what is added last stands outermost.

    Every refusal is logged and has an id; browsers ask for CORS without a key; budgets belong to
    verified keys; and nothing is read for strangers.
    """
    api.add_middleware(RequestScope, default_timeout_s=settings.request_timeout_s)
    api.add_middleware(
        BodyLimit, max_bytes=int(settings.max_body_mb * 1e6), prefixes=("/v1/", "/gradio_api/")
    )
    # Files come through Gradio's upload, and results that nobody fetches hold on to what was sent.
    api.add_middleware(BodyLimit, max_bytes=_MAX_EVENT_BYTES, prefixes=_EVENTS)
    api.add_middleware(RateLimit, per_minute=settings.requests_per_minute)
    api.add_middleware(ApiKeys, keys=[key.get_secret_value() for key in settings.api_keys])
    api.add_middleware(  # without origins, too: Gradio's own would let the pages of every site read answers
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["authorization", "content-type", "x-api-key", "x-request-id", "x-request-timeout"],
        expose_headers=["X-Request-ID", "Server-Timing", "Retry-After"],
    )
    api.add_middleware(AccessLog, count=metrics.response)
