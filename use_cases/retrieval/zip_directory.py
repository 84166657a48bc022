"""The directory at the end of a zip archive: whether it is small enough to be read."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

from engines.errors import InvalidInputError

_MAX_MEMBERS = 200_000  # COCO's largest archive has 118,287
_MAX_DIRECTORY_BYTES = 200 * _MAX_MEMBERS  # a member takes 46 and its name, and often some 30 more
# The records of an archive's end: PKWARE's APPNOTE.TXT, 4.3.12 and 4.3.14 to 4.3.16.
_MEMBER = b"PK\x01\x02"  # begins what the directory says of a member
_END = struct.Struct("<4s4H2LH")  # begins with PK 5 6
_LOCATOR64 = struct.Struct("<4sLQL")  # PK 6 7
_END64 = struct.Struct("<4sQ2H2L4Q")  # PK 6 6
_MAX_COMMENT_BYTES = 65_535  # after the last record
_SEE_END64 = 0xFFFFFFFF  # stands for a number that is too large for the old record


class _Directory(NamedTuple):
    """What a record says of an archive's directory, which ends where the record begins."""

    end: int  # bytes from the file's beginning
    size: int  # bytes
    members: int


def check_directory(file: BinaryIO, name: str) -> None:
    """Refuse an archive whose directory would fill the memory; what is no archive passes.

    `zipfile` reads a directory at once, some 400 bytes of memory for a member, as far as its size goes; so
    members are counted here, whatever number the record tells.

    Args:
        file: the archive.
        name: as the error calls it.

    Raises:
        InvalidInputError: when there is too much in it.
    """
    for directory in _directories(file):
        if directory.size > _MAX_DIRECTORY_BYTES:
            raise InvalidInputError(
                f"{name!r} has a directory of more than {_MAX_DIRECTORY_BYTES / 1e6:g} MB; split it into"
                " several archives."
            )
        file.seek(max(directory.end - directory.size, 0))
        if max(directory.members, file.read(directory.size).count(_MEMBER)) > _MAX_MEMBERS:
            raise InvalidInputError(
                f"{name!r} has more than {_MAX_MEMBERS:,} files; split it into several archives."
            )


def _directories(file: BinaryIO) -> list[_Directory]:
    """Return what each record says: readers, Python's versions too, differ in which one they believe."""
    start = max(file.seek(0, os.SEEK_END) - _END.size - _MAX_COMMENT_BYTES - 1, 0)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06", 0, len(tail) - _END.size + 4)
    if place < 0:
        return []
    end, found = start + place, list[_Directory]()
    *_, members, size, _, _ = _END.unpack_from(tail, place)
    if size != _SEE_END64:
        found.append(_Directory(end, size, members))
    locator_place = end - _LOCATOR64.size
    locator = _read(file, locator_place, _LOCATOR64.size)
    if not locator.startswith(b"PK\x06\x07"):
        return found
    _, _, told, _ = _LOCATOR64.unpack(locator)
    for end64 in (locator_place - _END64.size, told):
        record = _read(file, end64, _END64.size) if end64 < locator_place else b""
        if record.startswith(b"PK\x06\x06"):
            *_, members, size, _ = _END64.unpack(record)
            found.append(_Directory(end64, size, members))
    return found


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    if place < 0:
        return b""
    file.seek(place)
    return file.read(size)
