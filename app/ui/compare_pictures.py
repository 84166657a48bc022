"""The picture that a comparison is about: the visitor's own, or one that ships with the project."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr

from app.ui.uploads import EVENT_OPTIONS, as_text
from app.ui.zero_shot_tab import example_rows
from engines.gallery import gallery

_QUIET: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private", "show_progress": "hidden"}


@cache
def shipped_pictures() -> MappingProxyType[str, Path]:
    """Return the examples and the gallery's pictures by file name: what a link can name."""
    examples = [Path(path) for path, _ in example_rows()]
    return MappingProxyType({path.name: path for path in [*(each.path for each in gallery()), *examples]})


def picture_path(name: str) -> Path | None:
    """Return a shipped picture; None for a name that none has."""
    return shipped_pictures().get(name)


def build_picture(elem_id: str) -> tuple[gr.Image, gr.Dropdown]:
    """Add an image and the list of shipped pictures to the surrounding column.

    The list's value is the name of the picture that is shown, and empty for the visitor's own.

    Args:
        elem_id: of the image.
    """
    image = gr.Image(label="Image", sources=["upload", "clipboard", "webcam"], height=260, elem_id=elem_id)
    picture = gr.Dropdown(
        [("", ""), *((name, name) for name in sorted(shipped_pictures()))],
        value="",
        label="Or a picture of the gallery",
        info="Type to find one; a link can name it, while an upload stays with you.",
        elem_id=f"{elem_id}-name",
    )
    picture.input(_on_picture, picture, image, **_QUIET)
    image.input(lambda: "", None, picture, **_QUIET)
    return image, picture


def _on_picture(name: Any) -> str | None:
    path = picture_path(as_text("picture", name))
    return None if path is None else str(path)
