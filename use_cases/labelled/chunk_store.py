"""ChunkStore: embeddings of a dataset on disk, chunk by chunk, so that a run that was ended goes on."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import BackendUnavailableError

# Hidden: what else lies in the cache folder are artifacts, which the doctor lists.
_FOLDER = ".evaluations"
_MOST_BYTES = 4_000_000_000  # that are kept; the sets that were used least recently go first

logger = logging.getLogger(__name__)


class ChunkStore:
    """What one engine made of one dataset: a file for each chunk, whole or not there.

    A chunk is known by its content, so that files of other images or texts are never taken for it. Two runs
    may use the same store at once: they write the same.
    """

    def __init__(self, cache_dir: Path, dataset_sha256: str, engine_identity: str, *, fresh: bool = False):
        """Open or make a store.

        Args:
            cache_dir: of the project.
            dataset_sha256: which images and labels.
            engine_identity: which model, engine and versions, as `engine_identity` names them.
            fresh: forget what an earlier run left.

        Raises:
            BackendUnavailableError: when the cache folder cannot be written.
        """
        digest = hashlib.sha256(f"{dataset_sha256} {engine_identity}".encode()).hexdigest()
        root = cache_dir / _FOLDER
        self._folder = root / digest[:32]
        try:
            if fresh:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, exist_ok=True)
            os.utime(self._folder)
            _remove_oldest(root, self._folder)
        except OSError as error:
            raise self._unwritable(error) from error

    def get(self, kind: str, content: Iterable[str]) -> dict[str, NDArray[Any]] | None:
        """Return a chunk's arrays by name; None when it was not kept, or its file is damaged.

        Args:
            kind: the first part of the file's name.
            content: what the chunk was computed from.
        """
        path = self._path(kind, content)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s is damaged and is computed again (%s)", path.name, error)
            return None

    def put(self, kind: str, content: Iterable[str], **arrays: NDArray[Any]) -> None:
        """Keep a chunk.

        Raises:
            BackendUnavailableError: when the cache folder cannot be written.
        """
        path = self._path(kind, content)
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
                part = Path(file.name)
                try:
                    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes a flag for an array
                    file.close()
                    os.replace(part, path)
                except BaseException:  # an interruption, too: nobody would ever look at it again
                    part.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise self._unwritable(error) from error

    def _path(self, kind: str, content: Iterable[str]) -> Path:
        digest = hashlib.sha256("\0".join(content).encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / f"{kind}-{digest[:32]}.npz"

    def _unwritable(self, error: OSError) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"Cannot keep embeddings in {self._folder.parent} ({error.strerror}); free space there or set"
            " SIGLIP_CACHE_DIR to another folder."
        )


def _remove_oldest(root: Path, own: Path) -> None:
    sets: list[tuple[float, int, Path]] = []
    for folder in root.iterdir():
        with suppress(FileNotFoundError):  # another run removed it
            num_bytes = sum(path.stat().st_size for path in folder.iterdir())
            sets.append((folder.stat().st_mtime, num_bytes, folder))
    kept_bytes = 0
    for _, num_bytes, folder in sorted(sets, reverse=True):
        kept_bytes += num_bytes
        if kept_bytes > _MOST_BYTES and folder != own:
            shutil.rmtree(folder, ignore_errors=True)
