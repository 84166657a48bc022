"""The rows of tables as text: CSV, TSV and their like, whose first line names the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from engines.errors import InvalidInputError
from use_cases.wording import counted

IMAGE_COLUMNS = ("image", "filepath", "file", "filename", "file_name", "image_path", "image_name", "path")
UNQUOTED = "|"  # Flickr30k's own delimiter, in whose tables a quote is a character like others
_MAX_CELL_CHARS = 1_000_000


def find_columns(
    text: str, table_name: str, delimiters: Sequence[str], columns: Sequence[str], *, other_column: str
) -> tuple[str, int, int]:
    """Return what separates a table's columns, and which of them have the image and what belongs to it.

    Args:
        text: the whole table.
        table_name: as errors call it.
        delimiters: which may separate the columns.
        columns: what the second column may be called, in lower case.
        other_column: what the second column is for, as errors say it.

    Returns:
        The delimiter and the columns' numbers, from 0.

    Raises:
        InvalidInputError: when the first line names no such columns.
    """
    for delimiter in delimiters:
        # Not strict: with the wrong delimiter, quotes end where they should not.
        _, cells = next(read_rows(text, table_name, delimiter, strict=False), (1, []))
        header = [name.strip().lower() for name in cells]
        image = next((header.index(name) for name in IMAGE_COLUMNS if name in header), None)
        other = next((header.index(name) for name in columns if name in header), None)
        if image is not None and other is not None:
            return delimiter, image, other
    raise InvalidInputError(
        f"The first line of {table_name!r}, {text.partition(chr(10))[0][:100]!r}, names no column for the"
        f" image ({', '.join(IMAGE_COLUMNS)}) or none for {other_column}."
    )


def read_rows(
    text: str, table_name: str, delimiter: str, *, strict: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table that are not blank, the header too, each with the line on which it begins.

    Args:
        text: the whole table.
        table_name: as errors call it.
        delimiter: what separates the columns.
        strict: refuse quotes that seem to be in the wrong place; they would swallow rows.

    Raises:
        InvalidInputError: when a quote is not closed, or only in a later row, or a cell is too long.
    """
    csv.field_size_limit(_MAX_CELL_CHARS)
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=strict,
        quoting=csv.QUOTE_NONE if delimiter == UNQUOTED else csv.QUOTE_MINIMAL,
    )
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise InvalidInputError(
                f"{table_name!r} is no table that can be read: the row that begins on line {line:,} has a"
                f" quote that is not closed or not doubled, or a cell of more than {_MAX_CELL_CHARS:,}"
                f" characters ({error})."
            ) from None
        if row is None:
            return
        if strict and any(_swallows_rows(cell, delimiter) for cell in row):
            raise InvalidInputError(
                f"The row that begins on line {line:,} of {table_name!r} has a quoted text of several lines"
                f" with {delimiter!r} after the first of them; its quote is probably not closed where it"
                " should be."
            )
        if any(cell.strip() for cell in row):
            yield line, row


def note_short_rows(lines: Sequence[int], what: str) -> tuple[str, ...]:
    """Return a sentence on rows that were left out, if there are any.

    Args:
        lines: on which they begin.
        what: they lack, such as "image or no caption".
    """
    if not lines:
        return ()
    return (f"{counted(len(lines), 'row')} with no {what} left out, the first on line {lines[0]:,}.",)


def _swallows_rows(cell: str, delimiter: str) -> bool:
    """Tell whether a cell looks as if its quote went on into rows that come after it."""
    return delimiter in cell.replace("\r", "\n").partition("\n")[2]
