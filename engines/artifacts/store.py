"""The folder of files that are built from a model on first use, such as exported ONNX graphs."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import xxhash
from filelock import FileLock

from engines.errors import BackendUnavailableError
from engines.home import expand_home

_ENGINES_DIR = Path(__file__).parent.parent
_FACTS, _CHECKSUMS = "facts.json", "checksums.json"
_verified: set[Path] = set()  # folders whose checksums this process has compared
logger = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """Return $SIGLIP_CACHE_DIR, else siglip-as-server in the user's cache folder.

    Raises:
        InvalidInputError: when it would be in a home folder that is not known.
    """
    if chosen := os.environ.get("SIGLIP_CACHE_DIR"):
        return expand_home(chosen)
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expand_home(user_cache) / "siglip-as-server"


def ensure_artifact(
    cache_dir: Path, name: str, facts: dict[str, object], build: Callable[[Path], None]
) -> Path:
    """Return the folder of an artifact, building it when these facts were never built before.

    The folder's name ends in a hash of the facts, so changed weights or options make a new one. It
    is built under a lock and beside its final place, then renamed, so that nobody ever sees half of
    it; what a kill leaves is removed by the next build. A folder whose files are not those that were built is
    built again; the comparison is made once a process.

    Args:
        cache_dir: where artifacts live.
        name: the readable part of the folder's name.
        facts: everything that decides the content; JSON values.
        build: fills the empty folder that it is given.
    """
    folder = _folder(cache_dir, name, facts)
    if _is_whole(folder):
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if _is_whole(folder):  # another process built it while this one waited
            return folder
        if folder.exists():
            logger.warning("%s is damaged and is built again.", folder)
            shutil.rmtree(folder)
        for left in cache_dir.glob(f".{folder.name}-*"):  # by a process that was killed, for the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache_dir))
        try:
            build(unfinished)
            _write_json(unfinished / _FACTS, facts)
            _write_json(unfinished / _CHECKSUMS, _checksums(unfinished))
            _share_as(cache_dir, unfinished)
            unfinished.rename(folder)
            _verified.add(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)  # already renamed away when all went well
    return folder


def _share_as(cache_dir: Path, folder: Path) -> None:
    """Let whoever may read the cache folder read this one; temporary folders are their owner's alone."""
    mode = cache_dir.stat().st_mode & 0o755
    for path in folder.rglob("*"):
        path.chmod(mode if path.is_dir() else mode & 0o644)
    folder.chmod(mode)


def keep_artifact(
    cache_dir: Path, name: str, facts: dict[str, object], build: Callable[[Path], None]
) -> Path:
    """Do what `ensure_artifact` does, and say in one sentence when the folder cannot be written.

    Raises:
        BackendUnavailableError: when the build fails or the cache folder cannot be written.
    """
    try:
        return ensure_artifact(cache_dir, name, facts, build)
    except OSError as error:
        raise BackendUnavailableError(
            f"Cannot keep built files in {cache_dir} ({error.strerror}); free space there or set"
            " SIGLIP_CACHE_DIR to another folder."
        ) from error


def find_artifact(cache_dir: Path, name: str, facts: dict[str, object]) -> Path | None:
    """Return the folder of an artifact if it was built and is whole."""
    folder = _folder(cache_dir, name, facts)
    return folder if _is_whole(folder) else None


def installed_versions(*names: str) -> dict[str, str | None]:
    """Do what `package_versions` does, with None for a package that is not installed."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = _package_version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def package_versions(*names: str) -> dict[str, str]:
    """Return the versions of installed packages by name, so that what others built is built anew.

    Raises:
        importlib.metadata.PackageNotFoundError: when one is not installed.
    """
    return {name: _package_version(name) for name in names}


@cache  # to read one takes 5 ms, and some answers need many
def _package_version(name: str) -> str:
    return version(name)


@cache  # it shall tell the code that runs, not what has become of its files meanwhile
def code_sha256(*sources: str) -> str:
    """Return a hash of Python files, so that what other code built is built anew.

    Args:
        sources: paths below the engines' folder: files, or folders for all files in them.
    """
    paths = [_ENGINES_DIR / source for source in sources]
    files = [file for path in paths for file in (sorted(path.glob("*.py")) if path.is_dir() else [path])]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _folder(cache_dir: Path, name: str, facts: dict[str, object]) -> Path:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return cache_dir / f"{name}-{digest}"


def _is_whole(folder: Path) -> bool:
    if folder in _verified and folder.exists():
        return True
    if not matches_checksums(folder):
        return False
    _verified.add(folder)
    return True


def matches_checksums(folder: Path) -> bool:
    """Tell whether a folder holds exactly the files that were built; reads all of them."""
    try:
        expected: dict[str, str] = json.loads((folder / _CHECKSUMS).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return _checksums(folder) == expected


def _checksums(folder: Path) -> dict[str, str]:
    """Return a hash of each file but the list of them; XXH3 reads several gigabytes a second."""
    return {
        str(path.relative_to(folder)): _checksum(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _CHECKSUMS
    }


def _checksum(path: Path) -> str:
    if not path.stat().st_size:
        return ""  # an empty file cannot be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return xxhash.xxh3_64_hexdigest(content)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
