"""/v1/index: the galleries, what is in them, and how images get in and out."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse

from app.api.bodies import check_body, content_type, open_form
from app.api.context import Context
from app.api.errors import ApiError, error_body, sentence_of, status_of
from app.api.schemas_search import IndexBody
from app.api.uploads import is_zip, store_uploads
from app.gallery_answers import gallery_json
from app.rights import may
from engines.errors import EngineError
from use_cases.retrieval.galleries import GalleryStatus

_PROBLEMS = {
    403: "this server lets nobody change its galleries",
    404: "unknown gallery, image or model",
    409: "images are being added to the gallery already, or it was built with another state of a model",
}


def build_index_router(context: Context) -> APIRouter:
    """Build the routes around the shared galleries."""
    router = APIRouter(tags=["galleries"])
    services, galleries = context.services, context.services.galleries

    @router.get("/v1/index")
    async def index(request: Request) -> dict[str, Any]:
        """List the galleries: images by model, and the last job. `may_change`: clients may add and remove."""
        return {
            "object": "list",
            "data": [await _summary(context, name) for name in await asyncio.to_thread(galleries.names)],
            "may_change": services.gallery_options.may_change and may(request, "indexing"),
        }

    @router.post("/v1/index", status_code=202, **_documented(context))
    @context.counted("index")
    async def add(request: Request) -> JSONResponse:
        """Add images, or those in one zip archive, to a gallery, which is made if there is none.

        The answer comes at once, with status 202, and `GET /v1/index/{gallery}` tells how far it is; or, with
        `wait`, when all are added. If the request's time is over before that, adding goes on. What is in the
        gallery already is left alone; a file that cannot be used is listed with the reason.
        """
        context.check_change(request)  # before a large body is read
        if content_type(request) != "multipart/form-data":
            raise ApiError(
                415, "Send images as multipart/form-data, in `files`.", code="unsupported_media_type"
            )
        form = await open_form(request)
        try:
            body = check_body(_fields(form), IndexBody)
            models = body.models or list(services.models)
            await services.not_ready(models)  # refuses those that are not offered
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if body.remove_missing and not any(map(is_zip, uploads)):
                message = "Only a zip archive can tell what is missing; leave out 'remove_missing'."
                raise ApiError(422, message, code="invalid_parameter", param="remove_missing")
            stored = await store_uploads(services.gallery_options.root, uploads, body.captions)
            job = await galleries.add(
                body.gallery,
                stored.files,
                models,
                remove_missing=body.remove_missing,
                files_folder=stored.folder,
            )
            services.metrics.index.watch(job)
        finally:
            await form.close()
        if body.wait:
            await job.wait()
            if job.failure is not None:
                raise job.failure
        status = await galleries.status(body.gallery)
        return JSONResponse(_described(status), 200 if body.wait else 202)

    @router.get("/v1/index/{gallery}")
    async def gallery(gallery: str) -> dict[str, Any]:
        """Describe a gallery: its images by model, and the last job, with what could not be added."""
        return _described(await galleries.status(gallery))

    @router.post("/v1/index/{gallery}/cancel")
    async def cancel(request: Request, gallery: str) -> dict[str, Any]:
        """Stop adding images; what is in the gallery by then stays."""
        context.check_change(request)
        await galleries.cancel(gallery)
        return _described(await galleries.status(gallery))

    @router.delete("/v1/index/{gallery}")
    async def drop(request: Request, gallery: str) -> dict[str, Any]:
        """Remove a gallery, and stop what is being added to it."""
        context.check_change(request)
        await galleries.drop(gallery)
        return {"id": gallery, "object": "gallery", "deleted": True}

    @router.delete("/v1/index/{gallery}/images/{image:path}")
    async def remove(request: Request, gallery: str, image: str) -> dict[str, Any]:
        """Remove an image from a gallery, for all models."""
        context.check_change(request)
        services.metrics.index.removed(await galleries.remove(gallery, [image]))
        return {"id": image, "object": "image", "deleted": True}

    return router


def _documented(context: Context) -> dict[str, Any]:
    options = context.documented(IndexBody, files="files")
    del options["openapi_extra"]["requestBody"]["content"]["application/json"]
    error = options["responses"][404]
    options["responses"] |= {status: {**error, "description": text} for status, text in _PROBLEMS.items()}
    return options


def _described(status: GalleryStatus, *, failures: bool = True) -> dict[str, Any]:
    """Return what is known of a gallery, with the requests that would help after a failure."""
    facts = gallery_json(status, failures=failures)
    if status.job is not None and status.job.failure is not None:
        facts["job"]["error"] = sentence_of(status.job.failure)
    return facts


async def _summary(context: Context, name: str) -> dict[str, Any]:
    """Return what is known of a gallery; one that is damaged does not hide the others."""
    try:
        return _described(await context.services.galleries.status(name), failures=False)
    except EngineError as error:
        body = error_body(status_of(error), sentence_of(error), code=error.code)
        return {"id": name, "object": "gallery", **body}


def _fields(form: FormData) -> dict[str, Any]:
    """Return a form's fields; `models` may come several times.

    Raises:
        ApiError: 422 when a field is a file, or `files` is none.
    """
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in IndexBody.model_fields:
                message = f"The parameter {name!r} is no file; send files as 'files'."
                raise ApiError(422, message, code="invalid_parameter", param=name)
        elif name == "models":
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    return fields
