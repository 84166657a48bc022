"""Filling an index: what is added, left alone, replaced, removed and refused, and what a kill leaves."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.errors import InferenceError, InvalidInputError
from tests.images import png_header
from tests.use_cases.retrieval.pictures import (
    BLUE,
    GREEN,
    RED,
    colour_engine,
    ids_of,
    save_colours,
    save_image,
    stored_spec,
)
from use_cases.retrieval import commits
from use_cases.retrieval import snapshot as snapshots
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.errors import IndexBusyError, IndexStorageError
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.ingest import add_images
from use_cases.retrieval.sources import FileList, Folder
from use_cases.retrieval.verify import verify_table

PROJECT = Path(__file__).parents[3]
pytestmark = pytest.mark.anyio


@pytest.fixture
def index(tmp_path):
    return ImageIndex(tmp_path / "index", create=True)


async def add(files, index, **options):
    async with colour_engine() as pooled:
        return await add_images(files, index, [pooled], **options)


def table_of(index):
    return index.table(stored_spec())


async def test_images_are_added_with_their_facts(tmp_path, index):
    save_image(tmp_path / "in" / "a" / "red.jpg", RED, (1200, 600), exif=_turned())
    (tmp_path / "in" / "a" / "red.txt").write_text("a red one")
    progress = await add(Folder(tmp_path / "in"), index)
    assert (progress.total, progress.done, progress.added) == (1, 1, 1)
    ((record,), _) = table_of(index).snapshot().find(["a/red.jpg"])
    assert (record.width, record.height, record.caption) == (600, 1200, "a red one")
    assert record.source == str(tmp_path / "in")
    assert Image.open(io.BytesIO(record.thumbnail)).size == (128, 256)


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


async def test_embeddings_are_those_of_the_images(tmp_path, index):
    await add(Folder(save_colours(tmp_path / "in")), index)
    _, embeddings = table_of(index).snapshot().find(["red.png", "green.png", "blue.png"])
    np.testing.assert_allclose(embeddings, np.eye(3), atol=0.02)


async def test_what_is_there_already_is_left_alone(tmp_path, index):
    folder = Folder(save_colours(tmp_path / "in"))
    await add(folder, index)
    version = table_of(index).version
    progress = await add(folder, index)
    assert (progress.added, progress.unchanged) == (0, 3)
    assert len(table_of(index)) == 3
    assert table_of(index).version - version <= 1  # tidying may have merged files


async def test_a_changed_file_and_a_changed_caption_are_replaced(tmp_path, index):
    save_colours(tmp_path / "in")
    await add(Folder(tmp_path / "in"), index)
    save_image(tmp_path / "in" / "red.png", (250, 250, 0))
    (tmp_path / "in" / "blue.txt").write_text("now with a caption")
    progress = await add(Folder(tmp_path / "in"), index)
    assert (progress.added, progress.replaced, progress.unchanged) == (0, 2, 1)
    (records, embeddings) = table_of(index).snapshot().find(["red.png", "blue.png"])
    assert records[1].caption == "now with a caption"
    assert embeddings[0] @ [0.7071, 0.7071, 0] > 0.99
    assert ids_of(table_of(index)) == ["blue.png", "green.png", "red.png"]


async def test_missing_files_are_removed_on_request_alone(tmp_path, index):
    save_colours(tmp_path / "in")
    save_image(tmp_path / "other" / "white.png", (255, 255, 255))
    await add(Folder(tmp_path / "in"), index)
    await add(Folder(tmp_path / "other"), index)
    (tmp_path / "in" / "red.png").unlink()
    assert (await add(Folder(tmp_path / "in"), index)).removed == 0
    progress = await add(Folder(tmp_path / "in"), index, remove_missing=True)
    assert (progress.removed, progress.unchanged) == (1, 2)
    assert ids_of(table_of(index)) == ["blue.png", "green.png", "white.png"]


async def test_a_file_that_cannot_be_read_any_more_is_not_missing(tmp_path, index):
    save_colours(tmp_path / "in")
    await add(Folder(tmp_path / "in"), index)
    (tmp_path / "in" / "red.png").write_bytes(b"damaged")
    (tmp_path / "in" / "blue.txt").write_bytes(b"caf\xe9")
    progress = await add(Folder(tmp_path / "in"), index, remove_missing=True)
    assert (progress.num_failed, progress.removed) == (2, 0)
    assert len(table_of(index)) == 3


async def test_unusable_files_are_listed_and_do_not_stop_it(tmp_path, index):
    folder = save_colours(tmp_path / "in")
    (folder / "broken.jpg").write_bytes((folder / "red.png").read_bytes()[:60])
    (folder / "text.png").write_text("not an image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(png_header(20_000, 20_000))
    (folder / "locked.png").symlink_to("/proc/1/mem")
    progress = await add(Folder(folder), index)
    assert (progress.added, progress.num_failed) == (3, 4 + (folder / "locked.png").is_file())
    reasons = {failed.id: failed.reason for failed in progress.failed}
    assert "empty" in reasons["empty.png"]
    assert "pixels" in reasons["huge.png"]
    assert all(reason.endswith(".") for reason in reasons.values())


async def test_an_image_that_the_engine_fails_on_is_listed(tmp_path, index):
    async with colour_engine() as pooled:
        pooled.engine.engine.error = InferenceError("It failed.")
        progress = await add_images(Folder(save_colours(tmp_path / "in")), index, [pooled])
    assert (progress.added, progress.num_failed) == (0, 3)


async def test_images_of_the_same_name_from_elsewhere_get_names_of_their_own(tmp_path, index):
    for number, place in enumerate(("one", "two", "three")):
        save_image(tmp_path / place / "in" / "a.png", (RED, GREEN, BLUE)[number])
        await add(Folder(tmp_path / place / "in"), index)
    assert ids_of(table_of(index)) == ["a.png", "in-2/a.png", "in/a.png"]
    progress = await add(Folder(tmp_path / "two" / "in"), index)
    assert (progress.added, progress.unchanged) == (0, 1)


async def test_uploads_of_the_same_name_are_all_kept(tmp_path, index):
    files = [("a.png", save_image(tmp_path / f"{n}.png", (RED, GREEN, RED)[n])) for n in range(3)]
    progress = await add(FileList(files), index)
    assert (progress.added, progress.unchanged) == (2, 1)  # the third is the first once more
    progress = await add(FileList(files), index)
    assert (progress.added, progress.unchanged) == (0, 3)
    assert len(ids_of(table_of(index))) == 2


async def test_an_archive_is_added_and_found_unchanged(tmp_path, index):
    save_colours(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted((tmp_path / "in").iterdir()):
            archive.write(path, f"deep/{path.name}")
        archive.writestr("../out.png", b"")
    assert (await add(ZipArchive(tmp_path / "in.zip"), index)).added == 3
    progress = await add(ZipArchive(tmp_path / "in.zip"), index)
    assert (progress.unchanged, progress.num_failed) == (3, 1)


async def test_several_models_share_the_reading(tmp_path, index):
    async with colour_engine() as one, colour_engine(stored_spec("shapes", score="softmax")) as two:
        progress = await add_images(Folder(save_colours(tmp_path / "in")), index, [one, two])
    assert progress.added == 3
    assert {name: len(table) for name, table in index.tables().items()} == {"colours": 3, "shapes": 3}


async def test_a_model_that_came_later_gets_what_it_lacks(tmp_path, index):
    await add(Folder(save_colours(tmp_path / "in")), index)
    async with colour_engine() as one, colour_engine(stored_spec("shapes")) as two:
        await add_images(Folder(tmp_path / "in"), index, [one, two])
        assert sum(one.engine.engine.batches) == 0
        assert sum(two.engine.engine.batches) == 3


async def test_the_same_file_and_nearly_the_same_picture_are_duplicates(tmp_path, index):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    picture = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
    folder = save_colours(tmp_path / "in")
    picture.save(folder / "a.png")
    picture.resize((160, 120)).save(folder / "b.jpg", quality=80)
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes())
    progress = await add(Folder(folder), index)
    owners = {name: each.duplicate_of for name, each in table_of(index).lookup(["b.jpg", "c.png"]).items()}
    assert owners == {"b.jpg": "a.png", "c.png": "a.png"}
    assert progress.duplicates == 2
    (folder / "d.png").write_bytes((folder / "b.jpg").read_bytes())
    await add(Folder(folder), index)
    assert table_of(index).lookup(["d.png"])["d.png"].duplicate_of == "a.png"


async def test_two_jobs_on_one_index_get_in_each_others_way(tmp_path, index):
    folder = Folder(save_colours(tmp_path / "in"))
    await add(folder, index)
    with table_of(index).writing(), pytest.raises(IndexBusyError, match="try again"):
        await add(folder, ImageIndex(index.uri))
    assert (await add(folder, index)).unchanged == 3


async def test_a_full_disk_is_one_sentence_and_keeps_what_was_committed(tmp_path, index, monkeypatch):
    monkeypatch.setattr(commits, "_COMMIT_ROWS", 1)
    write, written = ImageTable.add, []

    def add_until_full(table, records, embeddings):
        if len(written) == 2:
            raise IndexStorageError("The index cannot be written: No space left on device.")
        written.extend(records)
        write(table, records, embeddings)

    monkeypatch.setattr(ImageTable, "add", add_until_full)
    folder = Folder(save_colours(tmp_path / "in"))
    with pytest.raises(IndexStorageError, match="No space left on device"):
        await add(folder, index)
    assert len(table_of(index)) == 2
    monkeypatch.setattr(ImageTable, "add", write)
    progress = await add(folder, index)
    assert (progress.added, progress.unchanged) == (1, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
async def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        folder = tmp_path / "in"
        for number in range(60):
            noise = np.random.default_rng(number).integers(0, 255, (200, 200, 3), np.uint8)
            folder.mkdir(exist_ok=True)
            Image.fromarray(noise).save(folder / f"{number}.png")
        with pytest.raises(IndexStorageError, match="No space left on device"):
            await add(Folder(folder), ImageIndex(disk / "index", create=True))
    finally:
        subprocess.run(["umount", disk], check=True)


async def test_cancelling_keeps_what_was_committed_and_frees_the_index(tmp_path, index, monkeypatch):
    monkeypatch.setattr(commits, "_COMMIT_ROWS", 1)
    for number in range(60):
        save_image(tmp_path / "in" / f"{number:02}.png", (number, 255 - number, 0))
    task = asyncio.ensure_future(add(Folder(tmp_path / "in"), index))
    while not index.has(stored_spec()) or not len(table_of(index)):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held = len(table_of(index))
    assert 0 < held < 60
    progress = await add(Folder(tmp_path / "in"), index)
    assert (progress.unchanged, len(table_of(index))) == (held, 60)


async def test_no_images_make_no_index(tmp_path, index):
    (tmp_path / "in").mkdir()
    with pytest.raises(InvalidInputError, match="nothing in it"):
        await add(Folder(tmp_path / "in"), index)
    assert index.models == []


_KILLED = """
import asyncio, sys
from pathlib import Path
from tests.use_cases.retrieval.test_ingest import add
from use_cases.retrieval import commits
from use_cases.retrieval import snapshot as snapshots
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.sources import Folder
commits._COMMIT_ROWS, commits._COMMITS_BEFORE_TIDYING = 3, 4
write = commits._write
def write_and_tell(*arguments):
    print("begins", flush=True)
    write(*arguments)
    print("ended", flush=True)
commits._write = write_and_tell
asyncio.run(add(Folder(Path(sys.argv[1])), ImageIndex(sys.argv[2], create=True)))
"""


async def test_a_kill_at_any_moment_loses_no_commit_and_makes_no_duplicate(tmp_path, index):
    for number in range(150):
        save_image(tmp_path / "in" / f"{number:03}.png", (number, 200 - number, 50))
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "in"), index.uri]
    held = 0
    for attempt in range(6):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT, text=True)
        lines = [process.stdout.readline() for _ in range(2 * attempt + 1)]
        time.sleep(0.007 * attempt)  # other moments: before, within and after a commit or tidying
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines += process.stdout.readlines()
        process.stdout.close()
        now = len(table_of(index))
        assert now >= held + 3 * lines.count("ended\n")
        held = now
        assert verify_table(table_of(index)).problems == ()
    assert 0 < held < 150
    progress = await add(Folder(tmp_path / "in"), index)
    assert progress.unchanged == held
    assert len(ids_of(table_of(index))) == len(set(ids_of(table_of(index)))) == 150
    assert verify_table(table_of(index)).problems == ()


async def test_an_ann_index_that_cannot_be_built_is_noted_and_stops_nothing(tmp_path, index, monkeypatch):
    async def fail(table):
        raise IndexStorageError("The ANN index cannot be built.")

    monkeypatch.setattr(commits, "build_ann", fail)
    monkeypatch.setattr(snapshots, "MAX_ROWS_IN_MEMORY", 0)
    monkeypatch.setattr(commits, "_COMMITS_BEFORE_TIDYING", 1)
    progress = await add(Folder(save_colours(tmp_path / "in")), index)
    assert (progress.added, progress.notes) == (3, ["The ANN index cannot be built."])
    assert not progress.is_indexing
