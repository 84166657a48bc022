"""Let MCP tools answer in JSON: Gradio sends an object as Python prints it, which few programs can read."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from gradio_client.utils import is_file_obj_with_meta
from pydantic import BaseModel


def answer_in_json() -> None:
    """Change that in this process; needs the package mcp."""
    from gradio.mcp import GradioMCPServer

    original = GradioMCPServer.postprocess_output_data
    if hasattr(original, "__wrapped__"):  # another app of this process has done it
        return

    @functools.wraps(original)
    def postprocess(self: GradioMCPServer, data: Sequence[Any], root_url: str) -> list[Any]:
        return original(self, [_as_text(output) for output in data], root_url)

    GradioMCPServer.postprocess_output_data = postprocess  # type: ignore[method-assign]


def _as_text(output: Any) -> Any:
    if isinstance(output, BaseModel):  # what gr.JSON makes of an object
        output = output.model_dump()
    plain = isinstance(output, dict | list) and not is_file_obj_with_meta(output)
    return json.dumps(output) if plain else output
