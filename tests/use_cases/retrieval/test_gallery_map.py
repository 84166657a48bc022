"""Maps of galleries: principal components, a sample of many images, and drawn once a version."""

import numpy as np
import pytest

from tests.use_cases.retrieval.pictures import colour_table, record, unit_rows
from use_cases.retrieval.gallery_map import GalleryMaps, draw_map, principal_plane


@pytest.fixture
def table(tmp_path):
    table = colour_table(tmp_path)
    table.add([record(f"{place}.png", caption=f"number {place}") for place in range(40)], unit_rows(40))
    return table


def test_the_plane_keeps_the_largest_variance():
    rng = np.random.default_rng(1)
    spread = rng.standard_normal((200, 5)) * [0.1, 3.0, 0.1, 1.0, 0.1]
    plane, explained = principal_plane(spread.astype(np.float32))
    assert plane.shape == (200, 2)
    for axis, column in ((0, 1), (1, 3)):
        assert abs(np.corrcoef(plane[:, axis], spread[:, column])[0, 1]) > 0.99
    assert 0.98 < explained < 1
    assert np.allclose(plane.mean(axis=0), 0, atol=1e-5)


def test_equal_embeddings_give_equal_maps_whatever_sign_the_solver_took():
    rows = unit_rows(30, dim=4)
    plane, _ = principal_plane(rows)
    assert np.allclose(plane, principal_plane(rows.copy())[0])
    assert np.allclose(np.abs(plane), np.abs(principal_plane(-rows)[0]), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_still_have_a_place(count):
    plane, explained = principal_plane(unit_rows(count))
    assert plane.shape == (count, 2)
    assert np.isfinite(plane).all()
    assert 0 <= explained <= 1.0001


def test_copies_of_one_image_lie_on_one_point():
    plane, explained = principal_plane(np.repeat(unit_rows(1), 5, axis=0))
    assert np.allclose(plane, 0, atol=1e-6)
    assert np.isfinite(explained)


def test_every_image_is_on_the_map_with_its_caption(table):
    drawn = draw_map(table)
    assert sorted(drawn.ids) == sorted(f"{place}.png" for place in range(40))
    assert drawn.captions[drawn.ids.index("7.png")] == "number 7"
    assert drawn.coordinates.shape == (40, 2)
    assert drawn.total == 40


def test_of_many_images_a_sample_is_drawn_which_is_the_same_each_time(table):
    drawn = draw_map(table, most=10)
    assert len(drawn.ids) == len(set(drawn.ids)) == 10
    assert drawn.total == 40
    assert drawn.ids == draw_map(table, most=10).ids


def test_a_map_is_drawn_anew_only_when_the_table_has_changed(table):
    maps = GalleryMaps()
    first = maps.of(table)
    assert maps.of(table) is first
    with table.writing():
        table.remove(["0.png"])
    assert len(maps.of(table).ids) == 39
