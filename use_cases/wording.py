"""Words around numbers in what people read."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return such as "1 image" or "2,000 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
