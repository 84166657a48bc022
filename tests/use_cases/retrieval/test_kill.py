"""SIGKILL before and after each commit of a change: the table is sound, and the change can be repeated."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.use_cases.retrieval.pictures import colour_table
from tests.use_cases.retrieval.test_duplicates import SPEC, marks_of, write
from use_cases.retrieval.verify import verify_table

PROJECT = Path(__file__).parents[3]

_KILLED = """
import os, signal, sys
from lancedb.merge import LanceMergeInsertBuilder
from lancedb.table import LanceTable
from tests.use_cases.retrieval.test_duplicates import SPEC
from tests.use_cases.retrieval.test_kill import apply
from use_cases.retrieval.image_index import ImageIndex

change, calls, when = sys.argv[2], int(sys.argv[3]), sys.argv[4]

def killing(commit):
    def call(*arguments, **options):
        global calls
        calls -= 1
        if not calls and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = commit(*arguments, **options)
        if not calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return call

table = ImageIndex(sys.argv[1]).table(SPEC)
for owner, name in ((LanceMergeInsertBuilder, "execute"), (LanceTable, "add"), (LanceTable, "delete")):
    setattr(owner, name, killing(getattr(owner, name)))
apply(table, change)
"""


def apply(table, change):
    with table.writing():
        if change == "replace":
            write(table, ("a", 1), ("b", 0, "new"), ("g", 0), ("h", 3))
        else:
            table.remove(["a", "d"])


@pytest.mark.parametrize(
    ("change", "commit", "when"),
    [
        ("replace", 1, "before"),  # the new images are added
        ("replace", 2, "before"),  # the marks are handed over
        ("replace", 3, "before"),  # the rows are written
        ("replace", 3, "after"),
        ("remove", 1, "before"),  # the marks are handed over
        ("remove", 2, "before"),  # the rows are removed
        ("remove", 2, "after"),
    ],
)
def test_a_kill_leaves_a_sound_table_and_the_change_can_be_repeated(tmp_path, change, commit, when):
    table = colour_table(tmp_path, SPEC)
    write(table, ("a", 0), ("b", 0), ("c", 0), ("d", 1))
    command = [sys.executable, "-c", _KILLED, str(tmp_path), change, str(commit), when]
    assert subprocess.run(command, cwd=PROJECT, timeout=60).returncode == -signal.SIGKILL
    table = colour_table(tmp_path, SPEC)
    assert verify_table(table).problems == ()
    stay = {"b", "c"} | ({"a", "d"} if change == "replace" or when == "before" else set())
    added = {"g", "h"} if change == "replace" and commit > 1 else set()
    assert marks_of(table).keys() == stay | added
    apply(table, change)
    assert verify_table(table).problems == ()
    replaced = {"a": "d", "b": "", "c": "b", "d": "", "g": "b", "h": ""}
    assert marks_of(table) == (replaced if change == "replace" else {"b": "", "c": "b"})
