"""What one process serves of a table that another one removes, or builds anew."""

import threading
from dataclasses import replace

import pytest

from tests.use_cases.retrieval.pictures import ids_of, record, stored_spec, unit_rows
from use_cases.retrieval import image_index
from use_cases.retrieval.errors import IndexBusyError, IndexMismatchError, UnknownIndexError
from use_cases.retrieval.gallery_map import GalleryMaps
from use_cases.retrieval.image_index import ImageIndex

SPEC = stored_spec()


@pytest.fixture(params=["at once", "later"])
def moment(request, monkeypatch):
    """Look at a change before the database has taken its second look at the table, or after it."""
    if request.param == "later":
        monkeypatch.setattr(image_index, "_SECOND_LOOK_S", 0.0)
    return request.param


@pytest.fixture
def later(monkeypatch):
    monkeypatch.setattr(image_index, "_SECOND_LOOK_S", 0.0)


def fill(index, *names, spec=SPEC):
    table = index.table(spec, create=True)
    table.add([record(name) for name in names], unit_rows(len(names), spec.dim))
    return table


def rebuild(folder, *names):
    """Do what another process does; an index object of its own knows as little of the first one."""
    other = ImageIndex(folder)
    other.drop(SPEC)
    return fill(other, *names)


def found(table):
    (nearest,) = table.snapshot().nearest(unit_rows(1), 10)
    return sorted(each.id for each in table.snapshot().records(nearest))


def test_rows_of_a_table_that_was_built_anew_up_to_the_same_version_are_served(tmp_path, later):
    index = ImageIndex(tmp_path, create=True)
    old = fill(index, "old 1", "old 2")
    assert found(old) == ["old 1", "old 2"]
    assert rebuild(tmp_path, "new 1", "new 2").version == old.snapshot()._table.version == 2
    assert found(index.table(SPEC)) == found(old) == ids_of(old) == ["new 1", "new 2"]
    assert index.table(SPEC) is index.table(SPEC)


def test_a_map_is_drawn_anew_of_a_table_that_was_built_anew(tmp_path, later):
    index, maps = ImageIndex(tmp_path, create=True), GalleryMaps()
    old = fill(index, "old")
    assert maps.of(old).ids == ["old"]
    rebuild(tmp_path, "new")
    assert maps.of(old).ids == maps.of(index.table(SPEC)).ids == ["new"]


def test_rows_that_are_gone_are_one_sentence_and_the_next_try_finds_the_new_ones(tmp_path):
    old = fill(ImageIndex(tmp_path, create=True), "old")
    snapshot = old.snapshot()
    (nearest,) = snapshot.nearest(unit_rows(1), 1)
    rebuild(tmp_path, "new")
    with pytest.raises(IndexBusyError, match="built anew in this moment; try again"):
        snapshot.records(nearest)
    assert found(old) == ["new"]


def test_another_state_of_the_model_is_noticed(tmp_path, later):
    index = ImageIndex(tmp_path, create=True)
    old = fill(index, "old")
    assert found(old) == ["old"]
    other = ImageIndex(tmp_path)
    other.drop(SPEC)
    fill(other, "new", spec=replace(SPEC, dim=4))
    for read in (lambda: index.table(SPEC), old.snapshot, lambda: index.table(SPEC)):
        with pytest.raises(IndexMismatchError, match="another state of colours"):
            read()


def test_nobody_writes_into_a_table_of_another_state_or_one_that_is_gone(tmp_path, moment):
    index = ImageIndex(tmp_path, create=True)
    old = fill(index, "old")
    other = ImageIndex(tmp_path)
    other.drop(SPEC)
    with pytest.raises(UnknownIndexError, match="Somebody removed"), old.writing():
        pass
    new = fill(other, "new", spec=replace(SPEC, dim=4))
    with pytest.raises(IndexMismatchError), old.writing():
        pass
    assert ids_of(new) == ["new"]


def test_a_table_that_was_removed_is_unknown_and_can_be_made_again(tmp_path, moment):
    index = ImageIndex(tmp_path, create=True)
    old = fill(index, "old")
    (nearest,) = old.snapshot().nearest(unit_rows(1), 1)
    snapshot = old.snapshot()
    ImageIndex(tmp_path).drop(SPEC)
    with pytest.raises(UnknownIndexError, match="Somebody removed"):
        snapshot.records(nearest)
    reads = [
        old.snapshot,
        lambda: len(old),
        lambda: old.dim,
        lambda: old.state,
        old.stats,
        lambda: ids_of(old),
    ]
    for read in reads if moment == "later" else ():
        with pytest.raises(UnknownIndexError, match="Somebody removed"):
            read()
    assert index.tables() == {}
    if moment == "later":
        with pytest.raises(UnknownIndexError, match="The index is empty"):
            index.table(SPEC)
        assert len(index.table(SPEC, create=True)) == 0


def test_each_table_has_an_id_of_its_own_that_changes_do_not_change(tmp_path):
    table = fill(ImageIndex(tmp_path, create=True), "a", "b")
    first = table.state
    table.replace([record("a", content_hash="another")], unit_rows(1))
    table.remove(["b"])
    table.tidy()
    assert table.state.table_id == first.table_id
    assert table.state.version > first.version
    assert rebuild(tmp_path, "a").state.table_id != first.table_id


def test_of_two_that_make_a_table_at_once_none_overwrites_the_other_ones(tmp_path):
    begin = threading.Barrier(3)
    made, busy = [], []

    def make():
        index = ImageIndex(tmp_path, create=True)
        begin.wait()
        try:
            made.append(index.table(SPEC, create=True).state)
        except IndexBusyError:
            busy.append(index)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(made) == {ImageIndex(tmp_path).table(SPEC).state}
    assert len(made) + len(busy) == 3
