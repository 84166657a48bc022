"""Marks: which image each duplicate names as its original, and how that stays right while images leave.

A mark names an original of the same table, never a duplicate, and never the image itself. A commit of the
database is one write, and a kill may come between two of them, so marks are handed over before their original
leaves: until it does there are two originals of one picture, which is harmless.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from use_cases.retrieval.records import ImageRecord

if TYPE_CHECKING:
    from lancedb.table import Table


def read_marks(table: Table) -> dict[str, str]:
    """Return the original that each duplicate names, by the duplicate's id."""
    rows = table.search().where("duplicate_of != ''").select(["id", "duplicate_of"]).to_arrow()
    return dict(zip(rows["id"].to_pylist(), rows["duplicate_of"].to_pylist(), strict=True))


def write_marks(table: Table, marks: Mapping[str, str]) -> None:
    """Change what some images are duplicates of, by id, in one commit; "" makes an original."""
    import pyarrow as pa

    if marks:
        columns = pa.schema([table.schema.field(name) for name in ("id", "duplicate_of")])
        rows = pa.table([list(marks), list(marks.values())], schema=columns)
        merge = table.merge_insert("id").when_matched_update_all()
        merge.use_index(False).execute(rows)  # through one it may leave rows twice


def mend(table: Table) -> None:
    """Set the marks right that name no original."""
    marks = read_marks(table)
    missing = set(marks.values()) - marks.keys()
    if missing:
        for batch in table.search().where("duplicate_of = ''").select(["id"]).to_batches():
            missing.difference_update(batch["id"].to_pylist())
    write_marks(table, mended(marks, missing))


def changed_ids(records: Iterable[ImageRecord], held: Mapping[str, ImageRecord]) -> set[str]:
    """Return the ids under which a table holds another file than the one that is to take its place.

    Args:
        records: about to be written.
        held: what the table has of them, by id.
    """
    return {
        record.id
        for record in records
        if record.id in held and held[record.id].content_hash != record.content_hash
    }


def handed_over(marks: Mapping[str, str], leaving: Collection[str]) -> dict[str, str]:
    """Return the new marks of the duplicates that stay when their original leaves, "" for an original.

    The first by its id becomes the original of the others.

    Args:
        marks: the original that each duplicate names, by the duplicate's id.
        leaving: ids of images that are to be removed, or to get another content.
    """
    heirs: dict[str, str] = {}
    orphans = [id_ for id_, original in marks.items() if original in leaving and id_ not in leaving]
    for id_ in sorted(orphans):
        heirs.setdefault(marks[id_], id_)
    return {id_: _mark(id_, heirs[marks[id_]]) for id_ in orphans}


def mended(marks: Mapping[str, str], missing: Collection[str]) -> dict[str, str]:
    """Return right marks for the duplicates whose mark names no original, "" for an original.

    Args:
        marks: the original that each duplicate names, by the duplicate's id.
        missing: the ids among them that the table does not have.
    """
    wrong = [id_ for id_, original in marks.items() if original in marks or original in missing]
    ends = {id_: _end(id_, marks) for id_ in sorted(wrong)}
    heirs: dict[str, str] = {}
    for id_, end in ends.items():
        heirs.setdefault(end, id_ if end in missing else end)
    return {id_: _mark(id_, heirs[end]) for id_, end in ends.items()}


def _mark(id_: str, original: str) -> str:
    return "" if id_ == original else original


def _end(id_: str, marks: Mapping[str, str]) -> str:
    """Return the image where a chain of marks ends; the first by its id of those that name each other."""
    seen = [id_]
    while (following := marks.get(seen[-1])) is not None:
        if following in seen:
            return min(seen[seen.index(following) :])
        seen.append(following)
    return seen[-1]
