"""Builds a table's ANN index in a process of its own: minutes of work that can be stopped at once."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from use_cases.retrieval import ann
from use_cases.retrieval.errors import IndexStorageError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.lance_threads import give_lance_threads
from use_cases.retrieval.storage import storage_errors

_PROJECT = Path(__file__).parents[2]
_LOOK_S = 0.1  # between two looks at the process
_NICENESS = 10
_FAILED = 2
_CRASHED = "The ANN index cannot be built; the server's log says why. The images are searched without it."

logger = logging.getLogger(__name__)


async def build_ann(table: ImageTable) -> None:
    """Build, or build anew, a table's ANN index. Call it within `writing`.

    Until it is complete the table is searched exactly. A caller that is cancelled stops the process, and the
    process stops itself when its parent is killed; the images stay as they are.

    Raises:
        IndexStorageError: when that fails; the images can still be searched.
    """
    command = [sys.executable, "-m", __name__, table.uri]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=_PROJECT, stdin=subprocess.PIPE, stdout=said, stderr=said)
        try:
            while process.poll() is None:
                await asyncio.sleep(_LOOK_S)
        finally:
            process.kill()
            process.communicate()
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            logger.warning("Building an ANN index ended with code %s: %s", process.returncode, text)
            raise IndexStorageError(text.splitlines()[-1] if process.returncode == _FAILED else _CRASHED)


def main(argv: Sequence[str] | None = None) -> int:
    """Build the index of one table; when that fails, the last line of output is a sentence for users."""
    give_lance_threads()
    import lancedb

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="of the table")
    database, _, name = parser.parse_args(argv).uri.rpartition("/")
    if sys.platform != "win32":
        os.nice(_NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with storage_errors("searched by an ANN index"):
            ann.build(lancedb.connect(database).open_table(name.removesuffix(".lance")))
    except IndexStorageError as error:
        print(error)
        return _FAILED
    return 0


def _end_with_parent() -> None:
    """End this process when its parent has gone, whose lock on the table is gone with it."""
    os.read(sys.stdin.fileno(), 1)  # the parent never writes: it returns when the pipe is closed
    os._exit(_FAILED)


if __name__ == "__main__":
    raise SystemExit(main())
