"""Keep files that the page offers for downloading, in Gradio's cache, which is emptied of old ones."""

from __future__ import annotations

from gradio import processing_utils
from gradio.utils import get_upload_folder


def save_file(content: bytes, name: str) -> str:
    """Write a file; return its path.

    Args:
        content: of the file.
        name: that a browser saves it under.
    """
    return str(processing_utils.save_bytes_to_cache(content, name, get_upload_folder()))
