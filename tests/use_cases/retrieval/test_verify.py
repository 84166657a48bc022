"""verify: each fault of a table is one sentence."""

import numpy as np
import pytest
from PIL import Image

from tests.use_cases.retrieval.pictures import colour_table, record, unit_rows
from use_cases.retrieval.thumbnails import encode_thumbnail
from use_cases.retrieval.verify import verify_table

THUMBNAIL = encode_thumbnail(Image.new("RGB", (8, 8)))


def images(**marks):
    return [record(name, duplicate_of=original, thumbnail=THUMBNAIL) for name, original in marks.items()]


@pytest.fixture
def table(tmp_path):
    return colour_table(tmp_path)


def test_a_sound_table_has_no_problems(table):
    table.add(images(a="", b="a", c="a"), unit_rows(3))
    found = verify_table(table)
    assert (found.images, found.problems) == (3, ())


@pytest.mark.parametrize(
    ("marks", "problem"),
    [
        ({"a": "a"}, "'a' is marked as a duplicate of itself."),
        ({"a": "b"}, "'a' is marked as a duplicate of 'b', which is not there."),
        ({"a": "b", "b": "c", "c": ""}, "'a' is marked as a duplicate of 'b', which is a duplicate itself."),
    ],
)
def test_a_wrong_mark_is_a_problem(table, marks, problem):
    table.add(images(**marks), unit_rows(len(marks)))
    assert verify_table(table).problems == (problem,)


def test_ids_embeddings_and_thumbnails_are_looked_at(table):
    table.add(images(a=""), unit_rows(1))
    table.add([*images(a=""), record("b")], np.array([[0, 0, 1], [0, 0, 2]], np.float32))
    assert verify_table(table).problems == (
        "The embedding of 'b' has the length 2.0000, not 1.",
        "'a' is there 2 times.",
        "The thumbnail of 'b' is damaged.",
    )
