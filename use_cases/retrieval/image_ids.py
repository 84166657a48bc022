"""ImageIds: what each image of an ingestion is called in the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

from engines.worker.background import in_background
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.sources import UPLOADED_ARCHIVE, is_upload

Known: TypeAlias = Sequence[Mapping[str, ImageRecord]]  # what each table holds, by id
Lookup: TypeAlias = Callable[[Sequence[str]], Known]


class Owner(NamedTuple):
    """Which image has an id."""

    source: str
    content_hash: str


class ImageIds:
    """Gives each image of one source its name as its id, unless another image has it already.

    The same image gets the same id each time. A changed file takes the place of its former state; an upload
    does not, because two people's files may have the same name. Belongs to one event loop.
    """

    def __init__(self, source: str, lookup: Lookup, *, replaces: bool = False) -> None:
        """Make it for one ingestion.

        Args:
            source: of its images.
            lookup: returns what each of the index's tables holds of some ids; called in a thread.
            replaces: an uploaded archive takes the place of what came from an archive of that name before.
        """
        self._source = source
        self._lookup = lookup
        self._replaces = replaces or not is_upload(source)
        self._owners: dict[str, Owner] = {}  # those of this ingestion: some 300 bytes an image

    def __contains__(self, id_: str) -> bool:
        """Tell whether this ingestion met an image of that id."""
        return id_ in self._owners

    async def give(self, name: str, content_hash: str, known: Known) -> tuple[str, Known] | None:
        """Return an image's id, and what each table holds of it already; None when it came before.

        Args:
            name: of the image in its source.
            content_hash: of its file.
            known: what each table holds of its name.
        """
        mine = Owner(self._source, content_hash)
        for id_ in _possible_ids(name, self._source, content_hash):
            if id_ != name:
                known = await in_background(self._lookup, [id_])
            if self._owners.get(id_) == mine:
                return None
            if id_ not in self._owners and self._may_have(mine, id_, known):
                self._owners[id_] = mine
                return id_, known
        raise AssertionError("the possible ids do not end")

    def _may_have(self, mine: Owner, id_: str, known: Known) -> bool:
        """Tell whether an image may have an id, where it may take another's place."""
        held = next((table[id_] for table in known if id_ in table), None)
        if held is None:
            return True
        return held.source == mine.source and (self._replaces or held.content_hash == mine.content_hash)


def _possible_ids(name: str, source: str, content_hash: str) -> Iterator[str]:
    """Return what an image may be called, the name itself first; the same each time."""
    yield name
    path = PurePosixPath(name)
    if is_upload(source):
        yield str(path.with_name(f"{path.stem}-{content_hash[:8]}{path.suffix}"))
        yield str(path.with_name(f"{path.stem}-{content_hash}{path.suffix}"))
    place = PurePosixPath(source.removeprefix(UPLOADED_ARCHIVE)).name or "images"
    yield f"{place}/{name}"
    for number in count(2):
        yield f"{place}-{number}/{name}"
