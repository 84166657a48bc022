"""Turn what a visitor dropped, or the folder that was named, into the images of an index job."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from app.ui.sent_values import original_name
from app.ui.uploads import Upload, uploaded_file
from app.upload_store import StoredUploads, keep_uploads
from engines.errors import InvalidInputError
from engines.home import expand_home
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.errors import IndexNotAllowedError
from use_cases.retrieval.sources import FileList, Folder, ImageFiles

_NO_FILES = "There is nothing to add; drop images or a zip archive, or name a folder."


async def store_dropped(root: Path, uploads: Sequence[Upload]) -> StoredUploads:
    """Keep dropped files as the images of a job; who calls this removes their folder in the end.

    A text file photo.txt among them is the caption of photo.jpg. The files get names of their own in a
    new folder, because Gradio keeps each upload by itself, and removes it after a while.

    Args:
        root: the galleries' folder.
        uploads: what gr.File sends.

    Raises:
        InvalidInputError: when there is none, or an archive beside other files, or no usable archive.
        IndexStorageError: when they cannot be written.
    """
    named = [(original_name(upload), uploaded_file(upload)) for upload in uploads]
    archives = [(name, path) for name, path in named if name.lower().endswith(".zip")]
    if archives and len(named) > 1:
        raise InvalidInputError("Drop images, or one zip archive by itself; not both.")
    captions = {PurePosixPath(name).stem: path for name, path in named if name.lower().endswith(".txt")}
    images = [(name, path) for name, path in named if not name.lower().endswith(".txt")]
    if not images:
        raise InvalidInputError(_NO_FILES)

    def write(folder: Path) -> ImageFiles:
        files: list[tuple[str, Path]] = []
        for position, (name, path) in enumerate(images):
            place = folder / f"{position:06}{path.suffix}"
            _keep(path, place)
            if caption := captions.get(PurePosixPath(name).stem):
                _keep(caption, place.with_suffix(".txt"))
            files.append((name, place))
        return ZipArchive(files[0][1], files[0][0]) if archives else FileList(files)

    return await keep_uploads(root, write)


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
        path = expand_home(name).resolve()
    except (InvalidInputError, RuntimeError, ValueError):  # an unknown home, a link to itself, a null byte
        raise InvalidInputError("That is no folder's name.") from None
    if not allowed:
        raise IndexNotAllowedError("This server adds no folders by their name; upload the images.")
    if not any(path.is_relative_to(each) for each in allowed):
        below = " or ".join(str(each) for each in allowed)
        raise IndexNotAllowedError(f"Only folders below {below} may be added.")
    return Folder(path)


def _keep(upload: Path, place: Path) -> None:
    """Give a file a second name, or copy it where that cannot be done."""
    try:
        os.link(upload, place)
    except OSError:  # another file system
        shutil.copyfile(upload, place)
