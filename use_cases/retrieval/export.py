"""Write what an index holds to a file: Parquet with the embeddings, JSON lines or CSV without."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Callable
from pathlib import Path

from engines.errors import InvalidInputError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.records import FACTS, ImageRecord, to_arrow
from use_cases.retrieval.storage import storage_errors


def export_table(table: ImageTable, path: Path) -> int:
    """Write all images of a table, without thumbnails; return how many.

    Args:
        table: to read.
        path: its ending says in which form: .parquet, .jsonl or .csv.

    Raises:
        InvalidInputError: when the ending is another one, or the file exists.
        IndexStorageError: when the index cannot be read, or the file cannot be written.
    """
    if path.suffix not in _WRITERS:
        raise InvalidInputError(
            f"The file {path.name!r} must end in {', '.join(_WRITERS)}: that says in which form to export."
        )
    if path.exists():
        raise InvalidInputError(f"The file {path.name!r} exists; choose another name, or remove it first.")
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")  # a failure leaves no half a file
    with storage_errors("exported"):
        try:
            images = _WRITERS[path.suffix](table, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return images


def _to_parquet(table: ImageTable, path: Path) -> int:
    import pyarrow.parquet as pq

    images = 0
    schema = table.schema.remove(table.schema.get_field_index("thumbnail"))
    with pq.ParquetWriter(path, schema) as writer:
        for records, embeddings in table.scan():
            writer.write_table(to_arrow(records, embeddings, schema))
            images += len(records)
    return images


def _to_json_lines(table: ImageTable, path: Path) -> int:
    images = 0
    with path.open("w", encoding="utf-8") as file:
        for records, _ in table.scan():
            file.writelines(_json_line(record) for record in records)
            images += len(records)
    return images


def _json_line(record: ImageRecord) -> str:
    return json.dumps({name: getattr(record, name) for name in FACTS}, ensure_ascii=False) + "\n"


def _to_csv(table: ImageTable, path: Path) -> int:
    images = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FACTS)
        for records, _ in table.scan():
            writer.writerows([getattr(record, name) for name in FACTS] for record in records)
            images += len(records)
    return images


_WRITERS: dict[str, Callable[[ImageTable, Path], int]] = {
    ".parquet": _to_parquet,
    ".jsonl": _to_json_lines,
    ".csv": _to_csv,
}
