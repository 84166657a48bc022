"""Decide about URLs that a request names in place of an uploaded file, before Gradio fetches them.

Gradio downloads such a file before any handler of ours runs, from public addresses only but without
a limit on its size. The server asks the network for nothing that a stranger chose, unless the operator
wants it to; then our own fetcher does, which has limits. Nor does it pass on what lies at a URL, which
Gradio's route for files would do for anybody.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio import processing_utils, routes
from gradio.utils import get_upload_folder
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.remote.fetch import ByteBudget, fetch_image
from engines.errors import EngineError
from engines.preparation.images import MAX_IMAGE_BYTES

_TIMEOUT_S = 20.0
_FILE_ROUTE = "/gradio_api/file="


def guard_downloads(*, allow_urls: bool) -> None:
    """Put our own download, or our refusal, in the place of Gradio's, in this process."""
    processing_utils.async_ssrf_protected_download = _download if allow_urls else _refuse
    routes.secure_url_stream_response = _refuse_to_pass_on  # type: ignore[attr-defined]


def _own_upload(url: str) -> str | None:
    """Return the path of an upload that a URL of this server names, as Gradio's upload tool for MCP does."""
    path = Path(unquote(url.partition(_FILE_ROUTE)[2])).resolve()
    return str(path) if path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file() else None


async def _refuse(url: str, cache_dir: str) -> str:
    if own := _own_upload(url):
        return own
    raise gr.Error("URLs are not fetched; upload the file itself.", print_exception=False)


async def _refuse_to_pass_on(url: str, request: Request) -> NoReturn:
    raise HTTPException(403, "This server passes on no files of other sites.")


async def _download(url: str, cache_dir: str) -> str:
    """Return the path of the downloaded file."""
    if own := _own_upload(url):
        return own
    try:
        data = await fetch_image(
            url, max_bytes=MAX_IMAGE_BYTES, budget=ByteBudget(MAX_IMAGE_BYTES), timeout_s=_TIMEOUT_S
        )
    except EngineError as error:
        raise gr.Error(str(error), print_exception=False) from error
    name = PurePosixPath(urlsplit(url).path).name or "image"
    return str(processing_utils.save_bytes_to_cache(data, name, cache_dir))
