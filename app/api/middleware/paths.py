"""Which requests a middleware is about: those whose path lies under one of its prefixes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from urllib.parse import unquote

# Private, but a guard has to see exactly the path that the router matches.
from starlette._utils import get_route_path
from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """Return the path that the router will match: without root_path, percent signs decoded once."""
    return get_route_path(scope)


def is_under(scope: Scope, prefixes: Sequence[str]) -> bool:
    """Say whether the path is a prefix or lies below one, in whole segments: "/v1/" holds "/v1", not "/v10".

    So does a path that some proxy or router would take for one of these, such as "//V1/./models" or
    "/%76%31/models"; a guard that also refuses what leads nowhere loses nothing.
    """
    path = route_path(scope)
    return any(_below(spelling, prefix) for spelling in (path, _plainest(path)) for prefix in prefixes)


def _below(path: str, prefix: str) -> bool:
    return path == prefix.rstrip("/") or path.startswith(prefix.rstrip("/") + "/")


def _plainest(path: str) -> str:
    """Return the path decoded again, in lower case, without empty, "." and ".." segments."""
    return posixpath.normpath(re.sub(r"[/\\]+", "/", "/" + unquote(path))).lower()
