"""The folder of files that are built from a model on first use, such as exported ONNX graphs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def default_cache_dir() -> Path:
    """Return $SIGLIP_CACHE_DIR, else siglip-as-server in the user's cache folder."""
    if chosen := os.environ.get("SIGLIP_CACHE_DIR"):
        return Path(chosen).expanduser()
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(user_cache).expanduser() / "siglip-as-server"


def ensure_artifact(
    cache_dir: Path, name: str, facts: dict[str, object], build: Callable[[Path], None]
) -> Path:
    """Return the folder of an artifact, building it when these facts were never built before.

    The folder's name ends in a hash of the facts, so changed weights or options make a new one. It
    is built under a lock and beside its final place, then renamed, so that nobody ever sees half of
    it; a kill leaves a hidden folder at most.

    Args:
        cache_dir: where artifacts live.
        name: the readable part of the folder's name.
        facts: everything that decides the content; JSON values.
        build: fills the empty folder that it is given.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / f"{name}-{digest}"
    if folder.exists():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.exists():  # another process built it while this one waited
            return folder
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache_dir))
        try:
            build(unfinished)
            (unfinished / "facts.json").write_text(
                json.dumps(facts, indent=2, sort_keys=True) + "\n", "utf-8"
            )
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)  # already renamed away when all went well
    return folder
