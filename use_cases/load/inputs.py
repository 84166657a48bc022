"""Images and texts that no server has seen: cheap to make, and none comes twice."""

from __future__ import annotations

import base64
import itertools

from use_cases.request_tasks import SMALL, synthetic_jpeg

_NUM_PHOTOS = 4
_HEAD_BYTES = 600  # hold both quantization tables; a multiple of 3, so base64 of head and tail can be joined
_TABLE_MARKER = b"\xff\xdb"
_TABLE_OFFSET = 5  # of a table's entries from its marker: length and number come between
_ENTRIES = (
    (0, 1),
    (0, 2),
    (0, 3),
    (0, 4),
    (1, 0),
    (1, 1),
    (1, 2),
    (0, 5),
)  # (table, entry) of low frequencies
_VALUES = 8  # of each of them


class NewImages:
    """JPEGs of which no two have the same pixels; safe to share between threads.

    Encoding a picture takes longer than many an answer, so that the clients would need the cores they
    measure. Instead, each picture gets quantization tables of its own: a few bytes of the file's head, which
    scale the lowest spatial frequencies. The decoder has as much to do as with any photo.
    """

    def __init__(self, seed: int, size: tuple[int, int] = SMALL) -> None:
        """Draw the photos that all others vary.

        Args:
            seed: another one gives other pictures.
            size: (width, height) in pixels.
        """
        photos = [synthetic_jpeg(size, seed + index) for index in range(_NUM_PHOTOS)]
        self._heads = [photo[:_HEAD_BYTES] for photo in photos]
        self._tails = [photo[_HEAD_BYTES:] for photo in photos]
        self._tails_base64 = [base64.b64encode(tail) for tail in self._tails]
        self._places = [_places(head) for head in self._heads]
        self._numbers = itertools.count()

    def jpeg(self) -> bytes:
        """Return the next image's file."""
        photo, head = self._next()
        return head + self._tails[photo]

    def data_uri(self) -> bytes:
        """Return the next image as a data URI in ASCII."""
        photo, head = self._next()
        return b"data:image/jpeg;base64," + base64.b64encode(head) + self._tails_base64[photo]

    def _next(self) -> tuple[int, bytes]:
        number, photo = divmod(next(self._numbers), _NUM_PHOTOS)
        head = bytearray(self._heads[photo])
        for place in self._places[photo]:
            number, step = divmod(number, _VALUES)
            head[place] += step
        return photo, bytes(head)


class NewTexts:
    """Short texts that never repeat, not even over several runs; safe to share between threads."""

    def __init__(self, seed: int) -> None:
        """Take what tells this run from others."""
        self._seed = seed
        self._numbers = itertools.count()

    def take(self, count: int) -> list[str]:
        """Return new texts."""
        return [f"a thing number {next(self._numbers)} of {self._seed}" for _ in range(count)]


def _places(head: bytes) -> list[int]:
    """Return where in a JPEG's head the entries are that make a picture another one."""
    first = head.index(_TABLE_MARKER)
    tables = first, head.index(_TABLE_MARKER, first + 2)
    return [tables[table] + _TABLE_OFFSET + entry for table, entry in _ENTRIES]
