"""Decide about URLs that a request names in place of an uploaded file, before Gradio fetches them.

Gradio downloads such a file before any handler of ours runs, from public addresses only but without
a limit on its size. The server asks the network for nothing that a stranger chose, unless the operator
wants it to; then our own fetcher does, which has limits. Nor does it pass on what lies at a URL, which
Gradio's route for files would do for anybody.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NoReturn
from urllib.parse import urlsplit

import gradio as gr
from gradio import processing_utils, routes
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.remote.fetch import fetch_image
from engines.errors import EngineError
from engines.preparation.images import MAX_IMAGE_BYTES

_TIMEOUT_S = 20.0


def guard_downloads(*, allow_urls: bool) -> None:
    """Put our own download, or our refusal, in the place of Gradio's, in this process."""
    processing_utils.async_ssrf_protected_download = _download if allow_urls else _refuse
    routes.secure_url_stream_response = _refuse_to_pass_on  # type: ignore[attr-defined]


async def _refuse(url: str, cache_dir: str) -> str:
    raise gr.Error("URLs are not fetched; upload the file itself.", print_exception=False)


async def _refuse_to_pass_on(url: str, request: Request) -> NoReturn:
    raise HTTPException(403, "This server passes on no files of other sites.")


async def _download(url: str, cache_dir: str) -> str:
    """Return the path of the downloaded file."""
    try:
        data = await fetch_image(url, max_bytes=MAX_IMAGE_BYTES, timeout_s=_TIMEOUT_S)
    except EngineError as error:
        raise gr.Error(str(error), print_exception=False) from error
    name = PurePosixPath(urlsplit(url).path).name or "image"
    return str(processing_utils.save_bytes_to_cache(data, name, cache_dir))
