"""What every text that comes from outside has to be."""

from __future__ import annotations

from engines.errors import InvalidInputError


def check_utf8(kind: str, text: str) -> None:
    """Refuse what no tokenizer takes: halves of characters, which is how bytes that are no UTF-8 come in.

    Args:
        kind: what the text is called.
        text: as it came.

    Raises:
        InvalidInputError: when it has such in it.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 20) : error.start + 10]
        raise InvalidInputError(f"The {kind} is not valid UTF-8 at {near!r}; write it anew.") from None
