"""Duplicates: what is marked as one, and that marks name originals whatever happens to these."""

import numpy as np
import pytest
from PIL import Image

from tests.use_cases.retrieval.pictures import colour_table, record, stored_spec
from use_cases.retrieval import image_table
from use_cases.retrieval.duplicates import find_duplicates
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.marks import handed_over, mended, write_marks
from use_cases.retrieval.thumbnails import encode_thumbnail
from use_cases.retrieval.verify import verify_table

PICTURES = np.eye(8, dtype=np.float32)  # their embeddings: no two look alike
SPEC = stored_spec(dim=len(PICTURES))
THUMBNAIL = encode_thumbnail(Image.new("RGB", (8, 8)))


def picture(name, number, caption=""):
    return record(name, content_hash=f"picture {number}", caption=caption, thumbnail=THUMBNAIL)


def write(table, *files):
    """Commit files, (name, number of the picture, caption), in the order in which an ingestion does."""
    records = [picture(*file) for file in files]
    embeddings = PICTURES[[number for _, number, *_ in files]]
    held = table.lookup([each.id for each in records])
    found = find_duplicates(table, records, embeddings)
    records = [image_table.replace(each, duplicate_of=id_) for each, id_ in zip(records, found, strict=True)]
    for call, known in ((table.add, False), (table.replace, True)):
        places = [place for place, each in enumerate(records) if (each.id in held) is known]
        if places:
            call([records[place] for place in places], embeddings[places])


def marks_of(table):
    return {each.id: each.duplicate_of for records, _ in table.scan() for each in records}


def problems_at(table, version):
    """Return what a kill after that version would have left behind."""
    pinned = table._open()
    pinned.checkout(version)
    return verify_table(ImageTable(lambda: pinned, None)).problems


@pytest.fixture
def table(tmp_path):
    """Return a table of five files: one picture thrice, another one, and a third one twice."""
    table = colour_table(tmp_path, SPEC)
    write(table, ("a", 0), ("b", 0), ("c", 0), ("d", 1), ("e", 2), ("f", 2))
    assert marks_of(table) == {"a": "", "b": "a", "c": "a", "d": "", "e": "", "f": "e"}
    return table


def test_a_new_caption_changes_no_mark(table):
    write(table, ("a", 0, "new"))
    assert marks_of(table) == {"a": "", "b": "a", "c": "a", "d": "", "e": "", "f": "e"}
    write(table, ("b", 0, "new"), ("a", 0, "newer"), ("c", 0, "new"))
    assert marks_of(table) == {"a": "", "b": "a", "c": "a", "d": "", "e": "", "f": "e"}
    held = table.lookup(["a", "b"])
    assert (held["a"].caption, held["b"].caption) == ("newer", "new")


def test_another_picture_leaves_its_duplicates_to_the_first_of_them(table):
    write(table, ("a", 3))
    assert marks_of(table) == {"a": "", "b": "", "c": "b", "d": "", "e": "", "f": "e"}


def test_a_new_caption_is_no_reason_not_to_inherit(table):
    write(table, ("a", 3), ("b", 0, "new"))
    assert marks_of(table) == {"a": "", "b": "", "c": "b", "d": "", "e": "", "f": "e"}


def test_a_picture_that_changes_into_another_one_is_its_duplicate(table):
    write(table, ("a", 1))
    assert marks_of(table) == {"a": "d", "b": "", "c": "b", "d": "", "e": "", "f": "e"}


def test_new_files_are_duplicates_of_what_a_name_held_before(table):
    write(table, ("d", 4), ("g", 1), ("h", 1))
    assert marks_of(table) == {"a": "", "b": "a", "c": "a", "d": "", "e": "", "f": "e", "g": "", "h": "g"}


def test_a_changed_picture_is_a_duplicate_of_a_new_one_never_the_other_way(table):
    write(table, ("d", 4), ("g", 4))
    assert marks_of(table)["d"] == "g"
    assert marks_of(table)["g"] == ""


def test_of_an_original_and_its_heir_that_both_go_the_third_remains(table):
    assert table.remove(["b", "a", "unknown"]) == 2
    assert marks_of(table) == {"c": "", "d": "", "e": "", "f": "e"}


def test_two_pictures_that_swap_their_names_are_both_originals(table):
    write(table, ("d", 2), ("e", 1), ("f", 3))
    assert marks_of(table) == {"a": "", "b": "a", "c": "a", "d": "", "e": "", "f": ""}


@pytest.mark.parametrize("seed", range(4))
def test_no_kill_between_two_commits_leaves_a_wrong_mark(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(image_table, "_IDS_A_CALL", 2)
    rng = np.random.default_rng(seed)
    table = colour_table(tmp_path, SPEC)
    disk: dict[str, int] = {}
    for step in range(25):
        names = rng.choice(list("abcdefghijkl"), rng.integers(1, 6), replace=False).tolist()
        if step % 3 == 2:
            table.remove(names)
            disk = {name: number for name, number in disk.items() if name not in names}
        else:
            files = [(name, int(rng.integers(4)), f"at {step}") for name in names]
            if step % 2:
                files = [(name, disk.get(name, number), caption) for name, number, caption in files]
            write(table, *files)
            disk |= {name: number for name, number, _ in files}
        held = {each.id: each.content_hash for records, _ in table.scan() for each in records}
        assert held == {name: f"picture {number}" for name, number in disk.items()}
        marks = marks_of(table)
        assert all(held[name] == held[original] for name, original in marks.items() if original)
    for version in range(1, table.version + 1):
        assert problems_at(table, version) == ()


def test_the_heirs_are_chosen_by_their_ids():
    marks = {"d": "a", "c": "a", "b": "a", "x": "y", "z": "w"}
    assert handed_over(marks, {"a", "b", "w"}) == {"c": "", "d": "c", "z": ""}
    assert handed_over(marks, {"d"}) == {}


def test_wrong_marks_are_mended():
    marks = {"self": "self", "its": "self", "b": "gone", "c": "gone", "d": "c", "e": "fine", "f": "e"}
    ring = {"x": "y", "y": "z", "z": "x", "to the ring": "z"}
    assert mended(marks | ring, {"gone"}) == {
        "self": "",
        "its": "self",
        "b": "",
        "c": "b",
        "d": "b",
        "f": "fine",
        "x": "",
        "y": "x",
        "z": "x",
        "to the ring": "x",
    }


def test_tidying_mends_what_older_versions_left_and_else_writes_no_mark(table):
    write_marks(table._table, {"a": "a", "d": "gone", "f": "b"})
    assert len(verify_table(table).problems) == 5
    table.tidy()
    assert verify_table(table).problems == ()
    assert marks_of(table) == {"a": "", "b": "a", "c": "a", "d": "", "e": "", "f": "a"}
