"""Paths that begin with ~, of folders that may have to be made."""

from __future__ import annotations

import os
from pathlib import Path

from engines.errors import InvalidInputError


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with ~ or ~user at its beginning replaced by that home folder.

    Raises:
        InvalidInputError: when nobody knows where it is; else a folder called ~ would be made.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise InvalidInputError(f"{expanded[:200]!r} begins with a home folder that is not known.")
    return Path(expanded)
