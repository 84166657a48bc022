"""Check values that events receive as they were sent: files, flags, numbers. Single ones: `uploads`."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Any

from app.ui.uploads import Upload, as_text
from engines.errors import InvalidInputError


def as_uploads(value: Any) -> list[Upload]:
    """Return the value of a gr.File with several files.

    Raises:
        InvalidInputError: when it is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInputError("The files must be a list of uploads.")
    return value


def original_name(upload: Upload) -> str:
    """Return what a file was called before Gradio made its name safe for a file system.

    Raises:
        InvalidInputError: when it is no upload.
    """
    if not isinstance(upload, dict):
        raise InvalidInputError("The files must be uploaded first.")
    given = as_text("orig_name", upload.get("orig_name")) or as_text("path", upload.get("path"))
    return PurePosixPath(given.replace("\\", "/")).name or "image"


def as_flag(name: str, value: object) -> bool:
    """Return a parameter that is true or false; false for null.

    Raises:
        InvalidInputError: when it is something else.
    """
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError(f"The parameter {name!r} must be true or false.")
    return bool(value)


def as_number(name: str, value: object, default: float = 0.0) -> float:
    """Return a number, the default for one that was left empty.

    Raises:
        InvalidInputError: when it is no finite number.
    """
    if value in (None, ""):
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInputError(f"The {name} must be a number.")
    return float(value)
