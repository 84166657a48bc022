"""One sentence for whatever goes wrong between an index and its disk, and a lock against a second writer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engines.errors import EngineError
from use_cases.retrieval.errors import IndexBusyError, IndexStorageError

logger = logging.getLogger(__name__)

_KNOWN_REASONS = (
    "No space left on device",
    "Permission denied",
    "Read-only file system",
    "Disk quota exceeded",
)

_PATH = re.compile(r"\S*/\S+")  # is nobody's business who asks over the network; the log has it
_RUST_SOURCE = re.compile(r",? \S+\.rs:\d+:\d+")  # where the database's own code found it


@contextmanager
def storage_errors(done: str) -> Iterator[None]:
    """Turn the database's errors into one sentence.

    Args:
        done: what the index could not be: opened, read, written.
    """
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # it raises OSError, RuntimeError, ValueError and its own kinds
        logger.warning("The image index cannot be %s", done, exc_info=error)
        raise IndexStorageError(f"The index cannot be {done}: {_reason(error)}.") from error


@contextmanager
def table_errors(done: str, check: Callable[[], None]) -> Iterator[None]:
    """Do what `storage_errors` does, but say what happened to the table when it is not the same any more.

    Args:
        done: what the index could not be: opened, read, written.
        check: raises an EngineError when somebody removed the table, or built it anew.
    """
    try:
        with storage_errors(done):
            yield
    except IndexStorageError:
        check()
        raise


@contextmanager
def only_writer(lock_file: Path | None) -> Iterator[None]:
    """Keep all others from writing to an index, in this process and in others on this machine.

    Args:
        lock_file: what the writers of one index agree on; None for an object store, where nothing does.

    Raises:
        IndexBusyError: when somebody else is writing.
        IndexStorageError: when the lock cannot be made.
    """
    if lock_file is None:
        yield
        return
    lock = FileLock(lock_file, thread_local=False)  # a job moves from thread to thread
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise IndexBusyError(
            "Somebody else is adding images to this index; try again when that has ended."
        ) from None
    except OSError as error:
        raise IndexStorageError(f"The index cannot be written: {_reason(error)}.") from error
    try:
        yield
    finally:
        lock.release()


def _reason(error: Exception) -> str:
    """Return the part of the database's message that helps: it goes on about its own source."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    for known in _KNOWN_REASONS:
        if known in text:
            return known
    first = (text.splitlines() or [type(error).__name__])[0]
    return _PATH.sub("", _RUST_SOURCE.sub("", first))[:200].rstrip(". :")
