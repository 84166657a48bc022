"""Read a request's body, JSON or multipart form, into one of the schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from app.api.errors import ApiError
from engines.tracing import span

B = TypeVar("B", bound=BaseModel)

_MAX_FIELDS = 5_000  # of a form: as many texts as one request may bring, and more


async def read_body(
    request: Request,
    schema: type[B],
    files: str,
    from_form: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> B:
    """Return the checked body of a request.

    Args:
        request: JSON, or a multipart form in which a field that may be a list can come several times.
        schema: what it must look like.
        files: the field of the schema that takes the form's uploads, however they are called.
        from_form: makes the body in JSON of a form's fields, where these are not the same.

    Raises:
        ApiError: 400 when it cannot be read, 415 when it is neither JSON nor a form, 422 when it does not
            fit the schema.
    """
    with span("receive"):
        kind = content_type(request)
        if kind == "multipart/form-data":
            fields = await _read_form(request, schema, files)
            content: object = from_form(fields) if from_form else fields
        elif kind in ("application/json", ""):
            content = _parse_json(await request.body())
        else:
            raise ApiError(
                415,
                f"The body is {kind}; send application/json or multipart/form-data.",
                code="unsupported_media_type",
            )
        return check_body(content, schema)


def check_body(content: object, schema: type[B]) -> B:
    """Return a body that fits its schema.

    Raises:
        ApiError: 422 when it does not.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        # Of the ways in which a union could have been meant, the one that went furthest says most.
        problem = max(
            error.errors(include_url=False, include_input=False), key=lambda problem: len(problem["loc"])
        )
        path, sentence = _path(problem["loc"]), problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
            sentence = f"there is no such parameter here, only {', '.join(schema.model_fields)}"
        raise ApiError(
            422,
            f"The parameter {path or 'body'!r} cannot be used: {sentence}.",
            code="invalid_parameter",
            param=path or None,
        ) from None


def content_type(request: Request) -> str:
    """Return what a request says that its body is, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def open_form(request: Request) -> FormData:
    """Return a multipart form; its large files are on the disk.

    Raises:
        ApiError: 400 when it cannot be read.
    """
    try:
        return await request.form(max_fields=_MAX_FIELDS, max_files=_MAX_FIELDS)
    except HTTPException as error:
        raise ApiError(400, f"The form cannot be read: {error.detail}.", code="invalid_form") from None


def _parse_json(body: bytes) -> object:
    try:
        return orjson.loads(body)  # several times as fast as json, which counts for images in base64
    except orjson.JSONDecodeError:
        raise ApiError(400, "The body is not valid JSON.", code="invalid_json") from None


async def _read_form(request: Request, schema: type[BaseModel], files: str) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in (await open_form(request)).multi_items():
        if isinstance(value, UploadFile):
            if name != files and name in schema.model_fields:
                message = f"The parameter {name!r} is no file; send files as {files!r}."
                raise ApiError(422, message, code="invalid_parameter", param=name)
            content.setdefault(files, []).append({"image": await value.read()})
        elif name == files or _takes_list(schema, name):
            content.setdefault(name, []).append(value)
        else:
            content[name] = value
    return content


def _takes_list(schema: type[BaseModel], name: str) -> bool:
    field = schema.model_fields.get(name)
    if field is None:
        return False
    kinds = (field.annotation, *get_args(field.annotation))
    return any(get_origin(kind) is list for kind in kinds)


def _path(location: tuple[int | str, ...]) -> str:
    """Return a position as users write it, such as input[3]; pydantic's names of types are left out."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not path:
            path = part
    return path
