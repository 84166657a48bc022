"""An index on disk: what is written is found again, by cosine, by id and by condition."""

import asyncio
import subprocess
import sys
from dataclasses import replace

import lancedb
import numpy as np
import pytest

from engines.base import normalize
from engines.errors import InvalidInputError
from tests.use_cases.retrieval.pictures import colour_table, ids_of, record, stored_spec, unit_rows
from use_cases.retrieval import ann
from use_cases.retrieval import snapshot as snapshots
from use_cases.retrieval.ann_process import build_ann
from use_cases.retrieval.errors import (
    IndexBusyError,
    IndexMismatchError,
    IndexStorageError,
    UnknownIndexError,
)
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.records import is_same_model


@pytest.fixture
def table(tmp_path):
    """Return a table of 50 images with embeddings of 3 dimensions."""
    table = colour_table(tmp_path)
    table.add(
        [record(f"{n:02}.jpg", caption="odd" if n % 2 else "", width=n + 1) for n in range(50)], unit_rows(50)
    )
    return table


def cosines_by_hand(query, chosen=slice(None)):
    return np.sort(unit_rows(50)[chosen] @ query)[::-1]


@pytest.fixture(params=["in memory", "on disk"])
def place(request, monkeypatch):
    """Search as a small table is searched, then as a large one is."""
    if request.param == "on disk":
        monkeypatch.setattr(snapshots, "MAX_ROWS_IN_MEMORY", 0)
    return request.param


def test_the_nearest_images_are_those_with_the_largest_cosines(table, place):
    queries = unit_rows(4, seed=1)
    for query, found in zip(queries, table.snapshot().nearest(queries, 10), strict=True):
        np.testing.assert_allclose(found.cosines, cosines_by_hand(query)[:10], atol=1e-5)
        embeddings = table.snapshot().embeddings(found)
        np.testing.assert_allclose(embeddings @ query, found.cosines, atol=1e-5)
        assert [each.id for each in table.snapshot().records(found)] == table.snapshot().ids(found)


def test_a_condition_leaves_images_out(table, place):
    (query,) = unit_rows(1, seed=1)
    (found,) = table.snapshot().nearest(query[None], 10, ImageFilter(caption_contains="ODD"))
    np.testing.assert_allclose(found.cosines, cosines_by_hand(query, slice(1, None, 2))[:10], atol=1e-5)
    (found,) = table.snapshot().nearest(query[None], 10, ImageFilter(id_prefix="1", min_width=15))
    assert sorted(table.snapshot().ids(found)) == ["14.jpg", "15.jpg", "16.jpg", "17.jpg", "18.jpg", "19.jpg"]
    (found,) = table.snapshot().nearest(query[None], 10, ImageFilter(id_prefix="x"))
    assert table.snapshot().records(found) == []
    assert table.snapshot().embeddings(found).shape == (0, 3)


def test_more_results_than_images_are_all_images(table, place):
    (found,) = table.snapshot().nearest(unit_rows(1), 100)
    assert found.number == len(set(table.snapshot().ids(found))) == 50


def test_a_snapshot_stays_as_it_was_and_the_next_one_is_new(table, place):
    before = table.snapshot()
    assert table.snapshot() is before
    (found,) = before.nearest(unit_rows(1), 50)
    table.remove(["00.jpg", "01.jpg"])
    table.tidy()
    assert len(before) == 50
    assert len(before.records(found)) == 50
    assert len(table.snapshot()) == 48


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        (ImageFilter(orientation="landscape"), ["wide"]),
        (ImageFilter(orientation="portrait"), ["it's"]),
        (ImageFilter(orientation="square"), ["1%_é🐱"]),
        (ImageFilter(min_width=60), ["1%_é🐱", "wide"]),
        (ImageFilter(min_height=61), ["it's"]),
        (ImageFilter(id_prefix="it's"), ["it's"]),
        (ImageFilter(id_prefix="1%_"), ["1%_é🐱"]),
        (ImageFilter(id_prefix="%"), []),
        (ImageFilter(caption_contains="a 'quoted' Cat"), ["wide"]),
        (ImageFilter(has_caption=True), ["wide"]),
    ],
)
def test_conditions(tmp_path, condition, ids):
    table = colour_table(tmp_path)
    images = [
        record("wide", width=80, height=60, caption="A 'Quoted' cat"),
        record("it's", width=40, height=70),
        record("1%_é🐱", width=60, height=60),
    ]
    table.add(images, unit_rows(3))
    (found,) = table.snapshot().nearest(unit_rows(1), 10, condition)
    assert sorted(table.snapshot().ids(found)) == ids
    assert table.snapshot().count(condition) == len(ids)


@pytest.mark.parametrize(
    "condition",
    [
        ImageFilter(id_prefix="a\0b"),
        ImageFilter(caption_contains="x" * 1001),
        ImageFilter(min_width=-1),
        ImageFilter(min_height="1; DROP"),
        ImageFilter(orientation="upright"),
    ],
)
def test_a_condition_that_cannot_be_used_is_refused(condition):
    with pytest.raises(InvalidInputError, match="The filter"):
        condition.to_sql()


def test_records_are_found_by_id_content_and_source(table):
    assert table.lookup(["03.jpg", "nothing"]) == {"03.jpg": record("03.jpg", caption="odd", width=4)}
    assert table.lookup([]) == {}
    assert list(table.with_content(["hash of 05.jpg"])) == ["hash of 05.jpg"]
    assert len(list(table.ids_from("folder"))) == 50
    assert list(table.ids_from("another")) == []
    records, embeddings = table.snapshot().find(["07.jpg", "nothing", "02.jpg"])
    assert [each.id for each in records] == ["07.jpg", "02.jpg"]
    np.testing.assert_array_equal(embeddings, unit_rows(50)[[7, 2]])


def test_replacing_leaves_one_row_for_each_id(table):
    changed = [record("03.jpg", caption="changed"), record("04.jpg", caption="changed")]
    table.replace(changed, unit_rows(2, seed=9))
    assert len(ids_of(table)) == len(set(ids_of(table))) == 50
    assert table.lookup(["03.jpg"])["03.jpg"].caption == "changed"


def test_when_an_original_goes_its_first_duplicate_takes_its_place(tmp_path):
    table = colour_table(tmp_path)
    copies = [record(f"copy {n}", duplicate_of="original") for n in range(2)]
    table.add([record("original"), *copies], unit_rows(3))
    table.remove(["original"])
    owners = {name: each.duplicate_of for name, each in table.lookup(["copy 0", "copy 1"]).items()}
    assert sorted(owners.values()) in (["", "copy 0"], ["", "copy 1"])


def test_another_process_sees_what_was_written(table, tmp_path):
    script = (
        "import sys; from use_cases.retrieval.image_index import ImageIndex;"
        "print({name: len(table) for name, table in ImageIndex(sys.argv[1]).tables().items()})"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    assert "{'colours': 50}" in subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def test_an_address_is_an_index_as_a_folder_is(tmp_path):
    address = f"file://{tmp_path}/index"
    table = ImageIndex(address, create=True).table(stored_spec(), create=True)
    with table.writing():
        table.add([record("a")], unit_rows(1))
    assert ImageIndex(address).models == ["colours"]
    assert len(ImageIndex(tmp_path / "index").table(stored_spec())) == 1


def test_only_one_may_write(table, tmp_path):
    other = ImageIndex(tmp_path).table(stored_spec())
    with table.writing():
        with pytest.raises(IndexBusyError, match="try again"), other.writing():
            pass
        with pytest.raises(IndexBusyError):
            ImageIndex(tmp_path).drop(stored_spec())
    with other.writing():
        pass


def test_an_index_of_another_state_of_the_model_is_refused(table, tmp_path):
    with pytest.raises(IndexMismatchError, match="add its images again"):
        ImageIndex(tmp_path).table(replace(stored_spec(), dim=4))


def test_an_index_may_have_noted_files_that_the_model_is_not_read_from():
    def facts(**files):
        return {"layout": 1, "model": "m", "dim": 8, "state": {"files": files}}

    wanted = facts(weights=[1, "a"], config=[2, "b"])
    assert is_same_model(wanted, wanted)
    assert is_same_model(facts(weights=[1, "a"], config=[2, "b"], readme=[3, "c"]), wanted)
    assert not is_same_model(facts(weights=[1, "a"], config=[2, "x"], readme=[3, "c"]), wanted)
    assert not is_same_model(facts(weights=[1, "a"]), wanted)
    gone = {"processor_config.json": [3, "c"]}
    assert not is_same_model(facts(weights=[1, "a"], config=[2, "b"], **gone), wanted)
    assert not is_same_model(facts(weights=[1, "a"], config=[2, "b"]) | {"dim": 4}, wanted)
    assert not is_same_model(None, wanted)


def test_an_index_without_the_model_names_those_that_it_has(table, tmp_path):
    with pytest.raises(UnknownIndexError, match="but of colours"):
        ImageIndex(tmp_path).table(stored_spec("shapes"))
    assert ImageIndex(tmp_path).models == ["colours"]


def test_there_is_no_index_where_there_is_no_folder(tmp_path):
    with pytest.raises(UnknownIndexError, match="build one first"):
        ImageIndex(tmp_path / "nothing")
    with pytest.raises(UnknownIndexError, match="add images"):
        ImageIndex(tmp_path / "empty", create=True).table(stored_spec())


def test_dropping_a_model_leaves_the_others(table, tmp_path):
    index = ImageIndex(tmp_path)
    index.table(stored_spec("shapes"), create=True)
    index.drop(stored_spec())
    assert index.models == ["shapes"]
    assert len(index.table(stored_spec(), create=True)) == 0


def test_a_table_whose_making_was_killed_is_made_again(tmp_path):
    ImageIndex(tmp_path, create=True).table(stored_spec(), create=True)
    (folder,) = tmp_path.glob("*.lance")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    index = ImageIndex(tmp_path)
    assert index.models == []
    assert not index.has(stored_spec())
    with pytest.raises(UnknownIndexError, match="add images"):
        index.table(stored_spec())
    assert len(index.table(stored_spec(), create=True)) == 0


def test_a_damaged_table_is_one_sentence(table, tmp_path):
    for file in tmp_path.glob("*.lance/data/*"):
        file.write_bytes(b"not a table")
    with pytest.raises(IndexStorageError, match="The index cannot be read") as caught:
        ImageIndex(tmp_path).table(stored_spec()).snapshot().nearest(unit_rows(1), 10)
    assert "/" not in str(caught.value)


def test_an_index_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexStorageError, match="The index cannot be"):
        ImageIndex(tmp_path / "file" / "index", create=True).table(stored_spec(), create=True)


def nearest_ids(table, query):
    snapshot = table.snapshot()
    return snapshot.ids(snapshot.nearest(query, 1)[0])


def test_an_ann_index_is_measured_and_finds_the_nearest(tmp_path, monkeypatch):
    spec = stored_spec(dim=32)
    table = colour_table(tmp_path, spec)
    embeddings = unit_rows(3000, 32)
    table.add([record(str(n)) for n in range(3000)], embeddings)
    monkeypatch.setattr(snapshots, "MAX_ROWS_IN_MEMORY", 1000)
    assert table.needs_ann()
    asyncio.run(build_ann(table))
    kept = table.stats()["ann"]
    assert kept["recall"] >= 0.95
    assert kept["rows"] == 3000
    assert not table.needs_ann()
    snapshot = table.snapshot()
    assert not snapshot.is_exact
    queries = normalize(embeddings[:50] + 0.3 * unit_rows(50, 32, seed=3))
    exact = snapshot.nearest(queries, 10, effort="exact")
    pairs = zip([snapshot.nearest(query[None], 10)[0] for query in queries], exact, strict=True)
    recall = np.mean([len(set(found.rows) & set(exact.rows)) / 10 for found, exact in pairs])
    assert recall >= 0.9
    quick = snapshot.nearest(embeddings[:50], 5, effort="quick")
    assert [snapshot.ids(found)[0] for found in quick] == [str(n) for n in range(50)]
    assert list(table.lookup(["7", "2999", "x"])) == ["7", "2999"]
    table.add([record("late")], queries[:1])
    assert table.lookup(["late"])["late"].id == "late"
    table.replace([record("7", caption="changed")], embeddings[7:8])
    assert len(table) == 3001
    assert nearest_ids(table, queries[:1]) == ["late"]
    (found,) = table.snapshot().nearest(queries[:1], 10, ImageFilter(id_prefix="299"))
    assert found.number == 10  # of eleven, which the partitions looked at may not hold


def test_an_ann_index_that_another_process_built_is_known_at_once(tmp_path, monkeypatch):
    spec = stored_spec(dim=32)
    table = colour_table(tmp_path, spec)
    embeddings = unit_rows(1001, 32)
    table.add([record(str(n), content_hash=str(n)) for n in range(1000)], embeddings[:1000])
    monkeypatch.setattr(snapshots, "MAX_ROWS_IN_MEMORY", 500)
    assert table.needs_ann()
    folder, _, name = table.uri.rpartition("/")
    ann.build(lancedb.connect(folder).open_table(name.removesuffix(".lance")))
    assert not table.needs_ann()
    table.add([record("late")], embeddings[1000:])
    table.replace([record("7", content_hash="another")], embeddings[7:8])
    assert table.remove(["8"]) == 1
    table.tidy()
    assert len(ids_of(table)) == len(set(ids_of(table))) == 1000
    assert nearest_ids(table, embeddings[1000:]) == ["late"]


@pytest.mark.parametrize("dim", [64, 12])  # codes are made of whole bytes; others are compared as they are
def test_a_condition_that_few_images_meet_makes_a_search_look_further(tmp_path, monkeypatch, dim):
    table = colour_table(tmp_path, stored_spec(dim=dim))
    table.add([record(str(n)) for n in range(3000)], unit_rows(3000, dim))
    monkeypatch.setattr(snapshots, "MAX_ROWS_IN_MEMORY", 1000)
    monkeypatch.setattr(ann, "_ROWS_A_PARTITION", 50)
    monkeypatch.setattr(ann, "_GOAL", 0.1)  # that a few probes reach
    settings = ann.build(table._table)
    assert (settings.partitions, settings.probes) == (60, 8)
    (found,) = table.snapshot().nearest(unit_rows(1, dim, seed=1), 10, ImageFilter(id_prefix="299"))
    assert found.number == 10  # of eleven, most of them in other partitions
