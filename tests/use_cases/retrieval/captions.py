"""Datasets of captions as tests write and read them."""

import io
import tarfile

BOM = "\ufeff".encode()  # with which Windows begins a text


def captions_of(dataset):
    return {image.name: image.captions for image in dataset.images}


def write_tar(path, members, odd=()):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return path
