"""What lies in the artifact cache: names, sizes, ages, and whether they are whole."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from engines.artifacts.store import matches_checksums

_NAME = re.compile(r"[^.].*-[0-9a-f]{16}")  # as `ensure_artifact` gives it


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFacts:
    """One built folder."""

    name: str
    size_bytes: int
    age_s: float  # since it was built
    whole: bool | None  # its checksums match; None when they were not compared


def list_artifacts(cache_dir: Path, verify: bool = False) -> list[ArtifactFacts]:
    """Return the facts of every artifact, by name; a cache that does not exist is empty.

    Args:
        cache_dir: where artifacts live.
        verify: read every file and compare checksums, at several gigabytes a second.
    """
    if not cache_dir.is_dir():
        return []
    # Galleries lie there, too, and folders that are being built, whose names begin with a dot.
    folders = [path for path in sorted(cache_dir.iterdir()) if path.is_dir() and _NAME.fullmatch(path.name)]
    return [
        ArtifactFacts(
            name=folder.name,
            size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            age_s=max(0.0, time.time() - folder.stat().st_mtime),
            whole=matches_checksums(folder) if verify else None,
        )
        for folder in folders
    ]
