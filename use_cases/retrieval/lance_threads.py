"""Gives LanceDB enough threads: with the single one that it takes on a small machine it can hang for ever."""

from __future__ import annotations

import os

from engines.worker.shared import available_cores

_THREADS = "LANCE_CPU_THREADS"


def give_lance_threads() -> None:
    """Say how many threads Lance may compute on, unless the environment does; call it before the import.

    With three cores or fewer it would take one. A search of an ANN index holds a thread while it waits for
    the partitions that another one has to decode, so searches must never hold them all
    (lance-format/lance#7673, LanceDB 0.40).
    """
    os.environ.setdefault(_THREADS, str(_num_threads(available_cores())))


def _num_threads(cores: int) -> int:
    """Return twice as many as there are searches at a time, in asyncio's threads and the background's."""
    return 2 * (min(32, cores + 4) + cores)
