"""What images are called: whose id a file may take, and which names come next."""

import zipfile

import pytest

from tests.use_cases.retrieval.pictures import (
    GREEN,
    RED,
    colour_engine,
    ids_of,
    record,
    save_image,
    stored_spec,
)
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.image_ids import ImageIds
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.ingest import add_images

pytestmark = pytest.mark.anyio


class Table(dict):
    """What an index holds, by id."""

    def hold(self, id_, source, content_hash):
        self[id_] = record(id_, source=source, content_hash=content_hash)

    def lookup(self, ids):
        return [{id_: self[id_] for id_ in ids if id_ in self}]


@pytest.fixture
def table():
    return Table()


async def give(table, source, name, content_hash, **options):
    """Return the id that one image of an ingestion gets, and remember it."""
    ids = ImageIds(source, table.lookup, **options)
    id_, known = await ids.give(name, content_hash, table.lookup([name]))
    assert known == table.lookup([id_])
    table.hold(id_, source, content_hash)
    return id_


@pytest.mark.parametrize("source", ["upload", "zip:photos.zip"])
async def test_an_upload_takes_no_other_upload_s_place(table, source):
    assert await give(table, source, "a/b.png", "1" * 64) == "a/b.png"
    assert await give(table, source, "a/b.png", "2" * 64) == "a/b-22222222.png"
    assert await give(table, source, "a/b.png", "2" * 64) == "a/b-22222222.png"  # once more
    assert await give(table, source, "a/b.png", "2" * 8 + "3" * 56) == f"a/b-{'2' * 8 + '3' * 56}.png"
    assert await give(table, source, "a/b.png", "1" * 64) == "a/b.png"


@pytest.mark.parametrize("source", ["/pictures", "/pictures/photos.zip"])
async def test_a_changed_file_of_this_machine_takes_its_former_place(table, source):
    for content in ("1", "2"):
        assert await give(table, source, "b.png", content) == "b.png"


async def test_an_archive_takes_the_place_of_its_former_state_when_asked(table):
    await give(table, "zip:photos.zip", "a.png", "1" * 64)
    assert await give(table, "zip:photos.zip", "a.png", "2" * 64, replaces=True) == "a.png"
    await give(table, "upload", "b.png", "1" * 64)
    assert await give(table, "zip:photos.zip", "b.png", "2" * 64, replaces=True) == "b-22222222.png"


async def test_sources_of_several_kinds_do_not_share_ids(table):
    given = [
        await give(table, source, "a.png", "1" * 64) for source in ("upload", "zip:upload", "/in/upload")
    ]
    assert given == ["a.png", "a-11111111.png", "upload/a.png"]


async def test_archives_of_one_content_get_their_own_name_in_the_end(table):
    for id_ in ("a.png", "a-11111111.png", f"a-{'1' * 64}.png"):
        table.hold(id_, "elsewhere", "1" * 64)
    assert await give(table, "zip:photos.zip", "a.png", "1" * 64) == "photos.zip/a.png"
    assert await give(table, "zip:photos.zip", "a.png", "1" * 64) == "photos.zip/a.png"


async def test_an_image_that_came_before_in_the_same_ingestion_is_left_out(table):
    ids = ImageIds("upload", table.lookup)
    assert await ids.give("a.png", "1" * 64, [{}]) == ("a.png", [{}])
    assert await ids.give("a.png", "1" * 64, [{}]) is None
    assert await ids.give("a.png", "2" * 64, [{}]) == ("a-22222222.png", [{}])
    assert "a.png" in ids


async def test_two_people_s_archives_of_one_name_are_both_kept(tmp_path):
    index = ImageIndex(tmp_path / "index", create=True)
    for name, colour in (("one", RED), ("two", GREEN), ("one", RED)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.write(save_image(tmp_path / f"{name}.png", colour), "in/a.png")
        async with colour_engine() as pooled:
            progress = await add_images(ZipArchive(tmp_path / f"{name}.zip", "photos.zip"), index, [pooled])
    assert (progress.added, progress.unchanged) == (0, 1)  # the first person once more
    first, second = ids_of(index.table(stored_spec()))
    assert (second, first[:5], first[-4:], len(first)) == ("in/a.png", "in/a-", ".png", 17)
