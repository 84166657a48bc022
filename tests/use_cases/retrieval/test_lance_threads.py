"""LanceDB's threads on small machines."""

import subprocess
import sys

import pytest

from use_cases.retrieval import lance_threads

_ASK = """
import os, sys
from use_cases.retrieval.image_index import ImageIndex
assert "lancedb" not in sys.modules
ImageIndex(sys.argv[1], create=True)
assert "lancedb" in sys.modules
print(os.environ["LANCE_CPU_THREADS"])
"""


def threads_with(monkeypatch, folder, said):
    """Return on how many threads LanceDB may compute in a fresh process that opens an index."""
    monkeypatch.delenv("LANCE_CPU_THREADS", raising=False)
    if said:
        monkeypatch.setenv("LANCE_CPU_THREADS", said)
    command = [sys.executable, "-c", _ASK, str(folder)]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(asked.stdout)


@pytest.mark.parametrize("cores", [1, 2, 3, 64])
def test_searches_never_hold_all_threads(cores):
    searches = min(32, cores + 4) + cores
    assert lance_threads._num_threads(cores) > searches


def test_an_index_sets_the_threads_unless_the_environment_says_how_many(monkeypatch, tmp_path):
    assert threads_with(monkeypatch, tmp_path, None) > 4
    assert threads_with(monkeypatch, tmp_path, "3") == 3
