"""Open a dataset of images with labels, whichever of the usual kinds it is.

- a folder with a folder for each class, whose name is the label;
- a CSV or TSV table with a column for the image and one for the label, several labels as "cat|sofa";
- tar archives of webdataset, one or a folder of them;
- a dataset of the Hugging Face hub, `hf:NAME` or `hf:NAME:SPLIT`;
- the gallery that is shipped, whose tags are the labels.

What cannot be used is left out, with its reason, and nothing else stops because of it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from engines.errors import InvalidInputError
from engines.gallery import gallery
from use_cases.labelled.hub_datasets import HUB_PREFIX, open_hub_dataset
from use_cases.labelled.label_tables import read_label_table
from use_cases.labelled.label_tars import read_label_tars
from use_cases.labelled.labelled import LabelledImage, LabelledSet, label_set, note_merged, tidy_labels
from use_cases.retrieval.caption_files import GALLERY, UNSEEN, image_paths
from use_cases.retrieval.caption_tables import printable
from use_cases.retrieval.sources import is_image_name
from use_cases.wording import counted

TABLE_SUFFIXES = (".csv", ".tsv")
CLASS_NAMES = "classnames.txt"  # as clip_benchmark calls the file beside a dataset


def open_labelled(
    dataset: str, *, images: Path | None = None, class_names: Path | None = None, limit: int | None = None
) -> LabelledSet:
    """Find a dataset's images and read their labels, without reading the images.

    Args:
        dataset: a file, a folder, `hf:NAME[:SPLIT]`, or one of the names for the gallery.
        images: the folder of a table's images; None looks near the table.
        class_names: a file with a label a line: what the numbers of a tar archive's .cls files stand for,
            or the labels of a folder's classes in the order of their names; None looks beside the dataset.
        limit: draw so many of the images.

    Raises:
        InvalidInputError: when it cannot be used.
        BackendUnavailableError: when a dataset of the hub needs what is not there.
    """
    if dataset in (GALLERY, UNSEEN) or dataset.startswith(HUB_PREFIX):
        _refuse_options(dataset, images, class_names)
        return _gallery(dataset, limit) if dataset in (GALLERY, UNSEEN) else open_hub_dataset(dataset, limit)
    path = Path(os.path.expanduser(dataset))  # unlike pathlib's, it raises nothing for ~nobody
    if not os.path.exists(path):  # unlike pathlib's, it raises nothing
        raise InvalidInputError(f"There is no file or folder {dataset!r}.")
    if images is not None and not os.path.isdir(os.path.expanduser(images)):
        raise InvalidInputError(f"There is no folder {str(images)!r} for the images.")
    name = printable(path.name or path.absolute().name)
    if not os.path.isdir(path):
        return _from_file(path, name, images, class_names, limit)
    files = [entry for entry in _entries(path) if not os.path.isdir(entry)]
    tars = [file for file in files if file.suffix.lower() == ".tar"]
    tables = [file for file in files if file.suffix.lower() in TABLE_SUFFIXES]
    if tars:
        _refuse_options(name, images, None)
        return read_label_tars(
            tars, name, _class_names(class_names or path / CLASS_NAMES, class_names), limit
        )
    if len(tables) == 1:
        return _from_file(tables[0], name, images, class_names, limit)
    _refuse_options(name, images, None)
    return _from_class_folders(path, name, class_names, limit)


def _refuse_options(name: str, images: Path | None, class_names: Path | None) -> None:
    if images is not None:
        raise InvalidInputError(f"{name!r} has its images with it; only a table takes a folder (--images).")
    if class_names is not None:
        raise InvalidInputError(f"{name!r} has its labels with it and takes no file of them (--classnames).")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InvalidInputError(f"The folder {folder.name!r} cannot be read ({error.strerror}).") from None


def _from_file(
    path: Path, name: str, images: Path | None, class_names: Path | None, limit: int | None
) -> LabelledSet:
    if path.suffix.lower() in TABLE_SUFFIXES:
        _refuse_options(name, None, class_names)
        return read_label_table(path, name, Path(os.path.expanduser(images)) if images else None, limit)
    if path.suffix.lower() != ".tar":
        raise InvalidInputError(
            f"{path.name!r} is none of the known kinds: a folder with a folder for each label, CSV, TSV, or"
            " an uncompressed tar archive."
        )
    _refuse_options(name, images, None)
    names = _class_names(class_names or path.parent / CLASS_NAMES, class_names)
    return read_label_tars([path], name, names, limit)


def _class_names(path: Path, named: Path | None) -> list[str] | None:
    """Return the labels in a file, a line each; None when there is none and nobody named one."""
    path = Path(os.path.expanduser(path))
    if named is None and not os.path.isfile(path):
        return None
    try:
        names = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise InvalidInputError(f"{path.name!r} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path.name!r} is not UTF-8 text.") from None
    while names and not names[-1].strip():
        names.pop()
    # A label may come twice, as "missile" does among ImageNet's; the lines are counted all the same.
    tidy = [label for name in names for label in tidy_labels([name])]
    if not tidy or len(tidy) != len(names):
        raise InvalidInputError(f"{path.name!r} should have a label a line, and no empty line.")
    return tidy


def _from_class_folders(folder: Path, name: str, class_names: Path | None, limit: int | None) -> LabelledSet:
    entries = _entries(folder)
    classes = [entry for entry in entries if os.path.isdir(entry)]
    if not classes:
        raise InvalidInputError(
            f"{name!r} has no labels: neither a folder for each of them, nor one CSV or TSV table, nor tar"
            " archives."
        )
    names = _class_names(class_names or folder / CLASS_NAMES, class_names)
    # Such as "Egyptian_cat": a folder's name has no spaces, a label has no underscores.
    spaced = {entry.name: printable(entry.name).replace("_", " ") for entry in classes}
    labels = list(spaced.values()) if names is None else names
    if len(labels) != len(classes):
        raise InvalidInputError(
            f"{name!r} has {counted(len(classes), 'class folder')} and {counted(len(labels), 'class name')};"
            " there should be one for each."
        )
    images = [
        LabelledImage(printable(path.relative_to(folder).as_posix()), path, tidy_labels([label]))
        for entry, label in zip(classes, labels, strict=True)
        for path in image_paths(entry)
        if not os.path.isdir(path)  # a link that leads nowhere is told
    ]
    stray = [entry for entry in entries if is_image_name(entry.name) and not os.path.isdir(entry)]
    images += [LabelledImage(printable(path.name), path, ()) for path in stray]
    tidy = [(printable(entry), label) for entry, text in spaced.items() for label in tidy_labels([text])]
    notes = note_merged(tidy if names is None else [(label, label) for label in names])
    return label_set(name, images, labels=labels, notes=notes, limit=limit)


def _gallery(dataset: str, limit: int | None) -> LabelledSet:
    pictures = [picture for picture in gallery() if dataset == GALLERY or not picture.seen_in_training]
    seen = sum(picture.seen_in_training for picture in pictures)
    notes: tuple[str, ...] = (
        "The labels are the pictures' tags: an image may have several, and one may fit that nobody gave it.",
    )
    if seen:
        notes += (
            f"The bundled pair was trained on {counted(seen, 'picture')} of the gallery; {UNSEEN!r} leaves"
            " them out.",
        )
    images = [LabelledImage(picture.path.name, picture.path, picture.tags) for picture in pictures]
    found = label_set(dataset, images, limit=limit)
    return replace(found, notes=notes + found.notes)
