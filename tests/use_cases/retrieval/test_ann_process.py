"""The process that builds an ANN index: it can be stopped at any moment, and says what went wrong."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.use_cases.retrieval.pictures import colour_table, record, stored_spec, unit_rows
from use_cases.retrieval import ann
from use_cases.retrieval import snapshot as snapshots
from use_cases.retrieval.ann_process import build_ann
from use_cases.retrieval.errors import IndexStorageError
from use_cases.retrieval.image_index import ImageIndex

PROJECT = Path(__file__).parents[3]
pytestmark = pytest.mark.anyio


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Return a table that counts as large."""
    monkeypatch.setattr(snapshots, "MAX_ROWS_IN_MEMORY", 1000)
    table = colour_table(tmp_path, stored_spec(dim=32))
    table.add([record(str(n)) for n in range(2000)], unit_rows(2000, 32))
    return table


async def test_it_builds_what_the_table_needs(table):
    await build_ann(table)
    assert not table.needs_ann()
    assert not table.snapshot().is_exact


async def test_a_caller_that_is_cancelled_stops_it_and_the_table_stays_as_it_was(table):
    task = asyncio.ensure_future(build_ann(table))
    await asyncio.sleep(0.3)
    start_s = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - start_s < 60  # it does not wait for the end of the work
    assert table.needs_ann()
    assert table.snapshot().is_exact
    assert len(ImageIndex(table.uri.rpartition("/")[0]).table(stored_spec(dim=32))) == 2000


async def test_a_killed_parent_takes_the_process_with_it(table):
    code = (
        "import asyncio, sys; from types import SimpleNamespace; from use_cases.retrieval import ann_process;"
        "asyncio.run(ann_process.build_ann(SimpleNamespace(uri=sys.argv[1])))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, table.uri], cwd=PROJECT)
    while not (children := psutil.Process(parent.pid).children()):
        await asyncio.sleep(0.01)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


async def test_a_table_is_searched_exactly_while_its_index_is_built_anew(table, monkeypatch):
    await build_ann(table)
    assert not table.snapshot().is_exact
    monkeypatch.setattr(ann, "_queries", lambda *_: sys.exit("stopped before the end"))
    with pytest.raises(SystemExit):
        ann.build(table._table)
    assert table.snapshot().is_exact


async def test_what_goes_wrong_there_is_one_sentence(table, monkeypatch):
    monkeypatch.setattr(type(table), "uri", property(lambda self: "/nowhere/nothing.lance"))
    with pytest.raises(IndexStorageError, match=r"searched by an ANN index: .*nothing"):
        await build_ann(table)


async def test_an_index_is_built_anew_when_too_many_images_are_not_in_it(table):
    await build_ann(table)
    table.add([record(f"new {n}") for n in range(50)], unit_rows(50, 32, seed=1))
    version = table.version
    table.tidy()
    assert (table.version, ann.num_left_out(table._table)) == (version, 50)
    assert not table.needs_ann()
    snapshot = table.snapshot()
    (found,) = await asyncio.to_thread(snapshot.nearest, unit_rows(50, 32, seed=1)[:1], 1)
    assert snapshot.ids(found) == ["new 0"]
    table.add([record(f"newer {n}") for n in range(100)], unit_rows(100, 32, seed=2))
    assert table.needs_ann()
    await build_ann(table)
    assert ann.num_left_out(table._table) == 0
    assert len(table) == 2150
