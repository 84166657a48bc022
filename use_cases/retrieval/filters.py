"""ImageFilter: which images of an index a search looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engines.errors import InvalidInputError

_MAX_CHARS = 1_000
Orientation = Literal["landscape", "portrait", "square"]
_ORIENTATIONS: dict[str, str] = {
    "landscape": "width > height",
    "portrait": "height > width",
    "square": "width = height",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilter:
    """Conditions that an image must meet, all of them; the default is none."""

    id_prefix: str = ""  # such as "holiday/2024/"
    caption_contains: str = ""  # in any case
    has_caption: bool = False
    min_width: int = 0  # pixels
    min_height: int = 0
    orientation: Orientation | None = None

    def __bool__(self) -> bool:
        """Tell whether there is any condition."""
        return self != ImageFilter()

    def to_sql(self) -> str | None:
        """Return the condition as the database takes it; None when there is none.

        Raises:
            InvalidInputError: when a value cannot be used.
        """
        parts: list[str] = []
        if self.id_prefix:
            parts.append(f"starts_with(id, {_checked('id_prefix', self.id_prefix)})")
        if self.caption_contains:
            wanted = _checked("caption_contains", self.caption_contains.lower())
            parts.append(f"strpos(lower(caption), {wanted}) > 0")
        if self.has_caption:
            parts.append("caption != ''")
        for name in ("min_width", "min_height"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value < 2**31:
                raise InvalidInputError(f"The filter {name} must be a whole number of pixels, 0 or more.")
            if value:
                parts.append(f"{name[4:]} >= {value}")
        if self.orientation is not None:
            if self.orientation not in _ORIENTATIONS:
                raise InvalidInputError(f"The filter orientation must be one of {', '.join(_ORIENTATIONS)}.")
            parts.append(_ORIENTATIONS[self.orientation])
        return " AND ".join(parts) or None


def quoted(text: str) -> str:
    """Return a text as a literal in SQL, in which a quote is doubled and nothing else is special."""
    return "'" + text.replace("'", "''") + "'"


def _checked(name: str, text: str) -> str:
    if len(text) > _MAX_CHARS or "\0" in text:
        raise InvalidInputError(f"The filter {name} must be a text of at most {_MAX_CHARS:,} characters.")
    return quoted(text)
