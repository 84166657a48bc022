"""ImageRecord: what an index keeps of an image; and how that is laid out in a table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.base import Embeddings
from engines.checkpoints.find import is_small_file, portable_fingerprint
from engines.models import ModelSpec

if TYPE_CHECKING:
    import pyarrow as pa

EMBEDDING = "embedding"
_FACTS = b"siglip-as-server"
_TABLE_ID = b"siglip-as-server.table"
_LAYOUT = 1  # of the table; another number is another layout


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """What an index keeps of one image, beside its embedding."""

    id: str  # unique in a table: a path below its source, or a file's name
    source: str  # the folder or archive that it came from; "upload" for single files
    content_hash: str  # SHA-256 of the file, hexadecimal
    difference_hash: str  # of its pixels, 16 hexadecimal digits
    width: int  # pixels, upright
    height: int
    caption: str = ""
    duplicate_of: str = ""  # the id of an earlier image that is the same, or nearly
    thumbnail: bytes = b""  # JPEG


FACTS = tuple(field.name for field in fields(ImageRecord) if field.name != "thumbnail")


def table_schema(spec: ModelSpec) -> pa.Schema:
    """Return the columns of a new table for a model; its metadata say whose embeddings they are.

    They also hold a random id: a table that is removed and built anew may reach the same version.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("content_hash", pa.string(), nullable=False),
            pa.field("difference_hash", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("caption", pa.string(), nullable=False),
            pa.field("duplicate_of", pa.string(), nullable=False),
            pa.field("thumbnail", pa.binary(), nullable=False),
            pa.field(EMBEDDING, pa.list_(pa.float32(), spec.dim), nullable=False),
        ],
        metadata={
            _FACTS: json.dumps(model_facts(spec)).encode(),
            _TABLE_ID: uuid.uuid4().hex.encode(),
        },
    )


def model_facts(spec: ModelSpec) -> dict[str, object]:
    """Return what must be equal for embeddings to be comparable; the engine's precision is not among it."""
    return {"layout": _LAYOUT, "model": spec.name, "dim": spec.dim, "state": portable_fingerprint(spec)}


def facts_in(schema: pa.Schema) -> dict[str, object] | None:
    """Return the facts that a table was made with; None for a table of somebody else's."""
    facts = (schema.metadata or {}).get(_FACTS)
    return json.loads(facts) if facts else None


def is_same_model(held: Mapping[str, object] | None, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a table's facts are those of a model; older ones may tell of files it is not read from."""
    if held is None:
        return False
    old, new = (dict(facts["state"]).get("files") for facts in (dict[str, Any](held), wanted))
    if old and new:
        read = {name: facts for name, facts in old.items() if name in new or is_small_file(name)}
        held = {**held, "state": {"files": read}}
    return held == wanted


def table_id(schema: pa.Schema) -> str:
    """Return what tells a table from others of its name; "" for one that an older version made."""
    id_: bytes = (schema.metadata or {}).get(_TABLE_ID, b"")
    return id_.decode()


def to_arrow(records: Sequence[ImageRecord], embeddings: Embeddings, schema: pa.Schema) -> pa.Table:
    """Return rows for a table.

    Args:
        records: one an image.
        embeddings: [n, dim], in their order.
        schema: of the table.
    """
    import pyarrow as pa

    columns = {name: [getattr(record, name) for record in records] for name in schema.names[:-1]}
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.reshape(-1)), embeddings.shape[1])
    arrays = [pa.array(columns[field.name], field.type) for field in list(schema)[:-1]]
    return pa.Table.from_arrays([*arrays, vectors], schema=schema)


def from_arrow(rows: pa.Table) -> list[ImageRecord]:
    """Return the records in rows, which may lack their thumbnails."""
    names = [name for name in (*FACTS, "thumbnail") if name in rows.column_names]
    return [ImageRecord(**row) for row in rows.select(names).to_pylist()]


def as_json(record: ImageRecord) -> dict[str, object]:
    """Return what an index tells strangers of an image; where it came from on this disk is not among it."""
    return {name: getattr(record, name) for name in FACTS if name not in ("source", "difference_hash")}


def to_matrix(rows: pa.Table) -> Embeddings:
    """Return the column of embeddings as [n, dim]."""
    column = rows[EMBEDDING].combine_chunks()
    flat: Embeddings = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return flat.reshape(len(rows), rows.schema.field(EMBEDDING).type.list_size)
