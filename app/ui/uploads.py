"""Check the values that events receive as they were sent, the uploaded image above all.

Events take their inputs with preprocess=False: gr.Image would open the file with Pillow itself, in
any format that Pillow knows and without a limit on pixels, and answer a damaged one with an error
about the component.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from gradio.utils import get_upload_folder

from engines.errors import InvalidInputError

# Of every event that a program may call: the values as they were sent, and no queue but the batcher's.
EVENT_OPTIONS: dict[str, Any] = {"concurrency_limit": None, "preprocess": False}
# Of the endpoints without a place on the page. In Gradio's queue an MCP call would go through the
# server's own front door once more, where it may have no password.
ENDPOINT_OPTIONS = EVENT_OPTIONS | {"queue": False}
Upload: TypeAlias = "dict[str, Any] | None"  # gr.Image's value: path, orig_name, mime_type...


def uploaded_file(value: Upload) -> Path:
    """Return the path of an uploaded file, given what gr.Image sends.

    Raises:
        InvalidInputError: when there is no image, or it did not come through Gradio's upload.
    """
    if value is None:
        raise InvalidInputError("There is no image; drop a photo, take one or click an example.")
    # Gradio checks where a file lies only if the request marks it as a file, and a hostile one does not.
    try:
        path = Path(value.get("path") or "").resolve()
    except (TypeError, ValueError, AttributeError):  # no text, a null byte, no object at all
        raise InvalidInputError("The image must be a file that was uploaded first.") from None
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise InvalidInputError("The image did not arrive; upload it again.")
    return path


def as_text(name: str, value: object) -> str:
    """Return a text parameter, an empty one for null.

    Raises:
        InvalidInputError: when it is no text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInputError(f"The parameter {name!r} must be text, not {type(value).__name__}.")
    return value


def as_names(name: str, value: object) -> list[str]:
    """Return a parameter that is a list of names; a single name is one, too.

    Raises:
        InvalidInputError: when it is something else.
    """
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
        raise InvalidInputError(f"The parameter {name!r} must be a list of names.")
    return names
