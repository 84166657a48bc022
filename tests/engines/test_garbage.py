"""The garbage collector spares what a start has made, and finds garbage all the same when it is told to."""

import gc
import weakref

import pytest

from engines.housekeeping import free_memory
from engines.machine.garbage import collector_at_rest


@pytest.fixture(autouse=True)
def _as_before():
    yield
    gc.unfreeze()
    gc.enable()


class Node:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self):
        self.itself = self


def test_nothing_is_collected_meanwhile_and_what_was_made_is_spared():
    with collector_at_rest():
        assert not gc.isenabled()
        kept = [Node() for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(kept)
    watched = weakref.ref(kept[0])
    kept.clear()
    gc.collect()
    assert watched() is not None


def test_a_start_that_fails_leaves_the_collector_at_work():
    with pytest.raises(OSError, match="in use"), collector_at_rest():
        raise OSError("address in use")
    assert gc.isenabled()


@pytest.mark.parametrize("at_rest", [False, True])
def test_unloaded_engines_are_freed_wherever_they_were_made(at_rest):
    if at_rest:
        with collector_at_rest():
            engine = Node()
    else:
        engine = Node()
    watched = weakref.ref(engine)
    del engine
    free_memory()
    assert watched() is None
    assert (gc.get_freeze_count() > 0) == at_rest
