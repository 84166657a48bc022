"""Keep Gradio from fetching URLs that a request names in place of an uploaded file.

Gradio downloads such a file before any handler of ours runs, from public addresses only but without
a limit on its size. The server asks the network for nothing that a stranger chose.
"""

from __future__ import annotations

from typing import NoReturn

import gradio as gr
from gradio import processing_utils


def refuse_downloads() -> None:
    """Make every such request fail with one sentence, in this process."""
    processing_utils.async_ssrf_protected_download = _refuse


async def _refuse(url: str, cache_dir: str) -> NoReturn:
    raise gr.Error("URLs are not fetched; upload the file itself.", print_exception=False)
