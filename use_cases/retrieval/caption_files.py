"""Open a dataset of images with captions, whichever of the usual kinds it is.

- COCO's captions JSON, or a Karpathy split of COCO or Flickr, near the folder of its images;
- a CSV or TSV table with a column for the image and one for the caption, several rows an image;
- tar archives of webdataset or img2dataset, one or a folder of them;
- a folder of images with text files beside them, photo.txt for photo.jpg, a caption a line;
- the gallery that is shipped.

Images without a caption are left out, as queries and as answers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from engines.errors import InvalidInputError
from engines.gallery import gallery
from use_cases.retrieval.caption_tables import (
    TABLE_SUFFIXES,
    find_images,
    printable,
    read_table,
)
from use_cases.retrieval.caption_tars import read_tar
from use_cases.retrieval.captioned import (
    MAX_CAPTIONS_BYTES,
    CaptionedImage,
    CaptionSet,
    tidy_captions,
)
from use_cases.retrieval.image_folders import folders_near, nearest_folders
from use_cases.retrieval.sources import is_image_name
from use_cases.wording import counted

GALLERY = "gallery"
UNSEEN = "gallery-unseen"  # its pictures that the bundled pair was not trained on


def open_captions(
    dataset: str, *, images: Path | None = None, split: str | None = None, limit: int | None = None
) -> CaptionSet:
    """Read a dataset's captions, and find its images without reading them.

    Args:
        dataset: a file, a folder, or one of the names for the gallery.
        images: the folder of a table's images; None looks near the table.
        split: of a Karpathy file; None is "test".
        limit: take the first so many images that have captions.

    Raises:
        InvalidInputError: when it cannot be used.
    """
    if dataset in (GALLERY, UNSEEN):
        _check_no_table(dataset, images, split)
        return _limited(dataset, _from_gallery(seen=dataset == GALLERY), limit, _gallery_notes(dataset))
    path = Path(os.path.expanduser(dataset))  # unlike pathlib's, it raises nothing for ~nobody
    folder = None if images is None else Path(os.path.expanduser(images))
    if folder is not None and not os.path.isdir(folder):
        raise InvalidInputError(f"There is no folder {str(images)!r} for the images.")
    name = printable(path.name or path.absolute().name)
    if os.path.isdir(path):
        found = _with_captions_beside(path)
        if any(image.captions for image in found):
            _check_no_table(name, images, split)
            return _limited(name, found, limit)
        path = _table_in(path, len(found))
    elif not os.path.exists(path):  # unlike pathlib's, it raises nothing
        raise InvalidInputError(f"There is no file or folder {dataset!r}.")
    if os.path.isdir(path) or path.suffix.lower() == ".tar":
        _check_no_table(name, images, split)
        return _from_tars(name, _tars(_visible_files(path)) if os.path.isdir(path) else [path], limit)
    if path.suffix.lower() not in (".json", *TABLE_SUFFIXES):
        raise InvalidInputError(
            f"{path.name!r} is none of the known kinds: COCO's or Karpathy's JSON, CSV, TSV, an uncompressed"
            " tar archive, or a folder."
        )
    near = [[folder]] if folder is not None else folders_near(path)
    return _from_table(name, path, near, split, limit)


def _check_no_table(name: str, images: Path | None, split: str | None) -> None:
    if images is not None or split is not None:
        raise InvalidInputError(
            f"{name!r} has its images with it and no splits; only a JSON, CSV or TSV file takes a folder of"
            " images (--images), and only Karpathy's a split (--split)."
        )


def _limited(
    name: str, images: Sequence[CaptionedImage], limit: int | None, notes: tuple[str, ...] = ()
) -> CaptionSet:
    if not images:
        raise InvalidInputError(f"{name!r} has no images.")
    captioned = [image for image in images if image.captions]
    if not captioned:
        raise InvalidInputError(f"{name!r} has {counted(len(images), 'image')}, none of them with a caption.")
    return CaptionSet(name, tuple(captioned[:limit]), notes + _notes(len(images), len(captioned), limit))


def _from_tars(name: str, tars: Sequence[Path], limit: int | None) -> CaptionSet:
    # Shards may use the same names.
    read = [read_tar(tar, f"{printable(tar.name)}/" if len(tars) > 1 else "") for tar in tars]
    found = [image for each in read for image in each.images]
    left_out = {image: why for each in read for image, why in each.left_out.items()}
    if not left_out:
        return _limited(name, found, limit)
    first, why = next(iter(left_out.items()))
    told = f"{counted(len(left_out), 'image')} left out, the first, {first!r}: {why}"
    if not any(image.captions for image in found):
        raise InvalidInputError(f"{name!r} has no image with a caption that can be used; {told}")
    return _limited(name, found, limit, (told,))


def _from_table(
    name: str, table: Path, near: Sequence[Sequence[Path]], split: str | None, limit: int | None
) -> CaptionSet:
    read = read_table(table, split)
    captioned = [entry for entry in read.entries if entry.captions]
    if not captioned:
        raise InvalidInputError(f"{table.name!r} has no captions.")
    folders = nearest_folders((entry.names for entry in read.entries), near)
    images = find_images(captioned[:limit], folders, table.name)
    notes = read.notes + _notes(len(read.entries), len(captioned), limit)
    return CaptionSet(name, tuple(images), notes)


def _notes(num_images: int, num_captioned: int, limit: int | None) -> tuple[str, ...]:
    notes: list[str] = []
    if num_captioned < num_images:
        notes.append(f"{counted(num_images - num_captioned, 'image')} without a caption left out.")
    if limit is not None and limit < num_captioned:
        notes.append(
            f"The first {limit:,} of {num_captioned:,} images; fewer images are easier to tell apart."
        )
    return tuple(notes)


def _from_gallery(*, seen: bool) -> list[CaptionedImage]:
    return [
        CaptionedImage(picture.path.name, picture.path, (picture.caption,))
        for picture in gallery()
        if seen or not picture.seen_in_training
    ]


def _gallery_notes(dataset: str) -> tuple[str, ...]:
    seen = sum(picture.seen_in_training for picture in gallery())
    if dataset == UNSEEN or not seen:
        return ()
    return (
        f"The bundled pair was trained on {counted(seen, 'picture')} of the gallery; {UNSEEN!r} leaves them"
        " out.",
    )


def image_paths(folder: Path) -> list[Path]:
    """Return the paths in and below a folder that are called as images are; not those in hidden folders."""
    found: list[Path] = []
    # Unlike pathlib's rglob, it raises nothing at a link to where nobody may look, nor stops there.
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if is_image_name(name)]
    return sorted(found)


def _with_captions_beside(folder: Path) -> list[CaptionedImage]:
    images: list[CaptionedImage] = []
    for path in image_paths(folder):
        if not _may_be_file(path):
            continue
        name = printable(path.relative_to(folder).as_posix())
        captions = _lines(path.with_suffix(".txt"))
        images.append(CaptionedImage(name, path, tidy_captions(captions)))
    return images


def _may_be_file(path: Path) -> bool:
    """Tell whether a path is a file, or a link to where nobody can look; who reads it is told why not."""
    return os.path.isfile(path) or not os.path.exists(path)


def _lines(beside: Path) -> list[str]:
    """Return the lines of a text file, none when there is no such file."""
    try:
        if not beside.is_file():
            return []
        with beside.open("rb") as file:
            data = file.read(MAX_CAPTIONS_BYTES + 1)
        if len(data) > MAX_CAPTIONS_BYTES:
            raise InvalidInputError(
                f"{beside.name!r} has more than {MAX_CAPTIONS_BYTES:,} bytes; a caption is shorter."
            )
        return data.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise InvalidInputError(f"{beside.name!r} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{beside.name!r} is not UTF-8 text.") from None


def _table_in(folder: Path, num_images: int) -> Path:
    """Return the one table in a folder, or the folder itself if there are tar archives."""
    files = _visible_files(folder)
    tables = [path for path in files if path.suffix.lower() in (".json", ".csv", ".tsv")]
    if len(tables) == 1:
        return tables[0]
    if tables:
        raise InvalidInputError(
            f"The folder {folder.name!r} has several tables, {', '.join(path.name for path in tables[:5])};"
            " name the one with the captions."
        )
    if _tars(files):
        return folder
    raise InvalidInputError(
        f"The folder {folder.name!r} has {counted(num_images, 'image')} and no captions: neither text files"
        " beside the images, nor a JSON, CSV or TSV table, nor tar archives."
    )


def _visible_files(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if _may_be_file(path) and not path.name.startswith(".")
        )
    except OSError as error:
        raise InvalidInputError(f"The folder {folder.name!r} cannot be read ({error.strerror}).") from None


def _tars(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() == ".tar"]
