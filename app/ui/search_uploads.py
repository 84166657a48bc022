"""Turn what a visitor dropped, or the folder that was named, into the images of an index job."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from app.ui.uploads import Upload, as_text, uploaded_file
from engines.errors import InvalidInputError
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.errors import IndexNotAllowedError
from use_cases.retrieval.sources import FileList, Folder, ImageFiles

_NO_FILES = "There is nothing to add; drop images or a zip archive, or name a folder."


def dropped_files(uploads: Sequence[Upload]) -> tuple[ImageFiles, Path | None]:
    """Return dropped files as the images of a job, and the folder that is to be removed after it.

    A text file photo.txt among them is the caption of photo.jpg. The files get names of their own in a
    new folder, because Gradio keeps each upload by itself, and removes it after a while.

    Args:
        uploads: what gr.File sends.

    Raises:
        InvalidInputError: when there is none, or an archive beside other files, or no usable archive.
    """
    named = [(_original_name(upload), uploaded_file(upload)) for upload in uploads]
    archives = [(name, path) for name, path in named if name.lower().endswith(".zip")]
    if archives and len(named) > 1:
        raise InvalidInputError("Drop images, or one zip archive by itself; not both.")
    if archives:
        name, path = archives[0]
        return ZipArchive(path, name), None
    captions = {PurePosixPath(name).stem: path for name, path in named if name.lower().endswith(".txt")}
    images = [(name, path) for name, path in named if not name.lower().endswith(".txt")]
    if not images:
        raise InvalidInputError(_NO_FILES)
    folder = Path(tempfile.mkdtemp(prefix="siglip-upload-"))
    files: list[tuple[str, Path]] = []
    for position, (name, path) in enumerate(images):
        image = folder / f"{position}{path.suffix}"
        _keep(path, image)
        if caption := captions.get(PurePosixPath(name).stem):
            _keep(caption, image.with_suffix(".txt"))
        files.append((name, image))
    return FileList(files), folder


def named_folder(name: str, allowed: Sequence[Path]) -> ImageFiles:
    """Return the images below a folder of the server's machine.

    Args:
        name: the folder.
        allowed: folders, resolved; it must be one of them or below one.

    Raises:
        IndexNotAllowedError: when it is not below an allowed folder; whether it exists is not told then.
        InvalidInputError: when it is none.
    """
    try:
        path = Path(name).expanduser().resolve()
    except (RuntimeError, ValueError):  # an unknown user's home, a null byte
        raise InvalidInputError("That is no folder's name.") from None
    if not any(path.is_relative_to(each) for each in allowed):
        below = " or ".join(str(each) for each in allowed)
        raise IndexNotAllowedError(f"Only folders below {below} may be added.")
    return Folder(path)


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


def _original_name(upload: Upload) -> str:
    """Return what a file was called before Gradio made its name safe for a file system."""
    if not isinstance(upload, dict):
        raise InvalidInputError("The files must be uploaded first.")
    given = as_text("orig_name", upload.get("orig_name")) or as_text("path", upload.get("path"))
    return PurePosixPath(given.replace("\\", "/")).name or "image"


def _keep(upload: Path, place: Path) -> None:
    """Give a file a second name, or copy it where that cannot be done."""
    try:
        os.link(upload, place)
    except OSError:  # another file system
        shutil.copyfile(upload, place)
