"""Errors as HTTP answers: a status for each kind, and OpenAI's error body."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from engines.errors import (
    BackendUnavailableError,
    EngineClosedError,
    EngineError,
    InferenceError,
    InvalidInputError,
    OverloadedError,
    QualityGateError,
    UnknownModelError,
)
from use_cases.retrieval.errors import (
    IndexBusyError,
    IndexMismatchError,
    IndexNotAllowedError,
    IndexStorageError,
    UnknownIndexError,
)

_STATUS: dict[type[EngineError], int] = {
    UnknownIndexError: 404,
    IndexMismatchError: 409,
    IndexBusyError: 409,
    IndexNotAllowedError: 403,
    IndexStorageError: 503,
    InvalidInputError: 400,
    UnknownModelError: 404,
    QualityGateError: 409,  # the server's own state forbids that engine; another one works
    OverloadedError: 429,
    InferenceError: 500,
    BackendUnavailableError: 503,
    EngineClosedError: 503,
}
_OUTDATED = "Send DELETE /v1/index/{gallery}, then POST /v1/index."  # what the error asks for, in this door
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
RETRY_AFTER_S = 1  # a batch of the slowest engine ends in about a second


def error_body(status: int, message: str, *, code: str, param: str | None = None) -> dict[str, object]:
    """Return OpenAI's error object; `code` tells a program what the sentence tells a person."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(
    status: int,
    message: str,
    *,
    code: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return OpenAI's error body as an answer; 429 and 503 say when to come back."""
    retry = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    body = error_body(status, message, code=code, param=param)
    return JSONResponse(body, status, headers={**retry, **(headers or {})})


def status_of(error: EngineError) -> int:
    """Return the HTTP status of an error that left the engines."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def sentence_of(error: EngineError) -> str:
    """Return what an error says, with the requests that would help."""
    return f"{error} {_OUTDATED}" if isinstance(error, IndexMismatchError) else str(error)


class ApiError(Exception):
    """What is wrong with a request as HTTP sees it; the handler turns it into an answer."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


def install_error_handlers(api: FastAPI) -> None:
    """Let every error under the REST routes answer with OpenAI's body; bugs stay bugs."""

    async def on_api_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error_response(error.status, str(error), code=error.code, param=error.param)

    async def on_engine_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, EngineError)
        return error_response(status_of(error), sentence_of(error), code=error.code)

    api.add_exception_handler(ApiError, on_api_error)
    api.add_exception_handler(EngineError, on_engine_error)
