"""Uploads on the disk: their names, and that none is left behind."""

import asyncio
import io
import os
import threading
import time

import pytest
from starlette.datastructures import UploadFile

from app.api.uploads import safe_name, store_uploads
from engines.errors import InvalidInputError
from use_cases.retrieval.errors import IndexStorageError

pytestmark = pytest.mark.anyio


def upload(name, data=b"data"):
    return UploadFile(io.BytesIO(data), filename=name)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a photo.jpg", "a photo.jpg"),
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\photos\\a.png", "a.png"),
        ("%22so%22.png", '"so".png'),
        ("two\nlines\0.png", "two lines .png"),
        ("👩‍👩‍👧.png", "👩‍👩‍👧.png"),
        ("x" * 300 + ".png", "x" * 196 + ".png"),
        ("folder/", "folder"),
        ("/", "image"),
        ("..", "image"),
        ("", "image"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert safe_name(name) == safe


async def test_files_keep_their_names_and_captions_though_not_on_the_disk(tmp_path):
    stored = await store_uploads(
        tmp_path, [upload("a.png", b"first"), upload("b.png", b"second")], {"b.png": "two"}
    )
    files = list(stored.files)
    assert [file.id for file in files] == ["a.png", "b.png"]
    assert [file.read_caption() for file in files] == ["", "two"]
    assert files[1].read() == b"second"
    assert not {path.name for path in stored.folder.iterdir()} & {"a.png", "b.png"}


async def test_refused_files_leave_nothing(tmp_path):
    with pytest.raises(InvalidInputError, match="no zip archive"):
        await store_uploads(tmp_path, [upload("a.zip")], [])
    assert not list(tmp_path.glob(".uploads/*"))


async def test_a_disk_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / ".uploads").write_text("no folder")
    with pytest.raises(IndexStorageError, match="The index cannot be written"):
        await store_uploads(tmp_path, [upload("a.png")], [])


async def test_a_client_that_leaves_meanwhile_leaves_nothing(tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, *args):
            begun.set()
            go_on.wait(10)
            return super().read(*args)

    storing = asyncio.ensure_future(
        store_uploads(tmp_path, [UploadFile(Slow(b"data"), filename="a.png")], [])
    )
    await asyncio.to_thread(begun.wait, 10)
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert list(tmp_path.glob(".uploads/*"))
    go_on.set()
    for _ in range(500):
        if not list(tmp_path.glob(".uploads/*")):
            break
        await asyncio.sleep(0.01)
    assert not list(tmp_path.glob(".uploads/*"))


async def test_what_a_killed_server_left_is_removed_in_time(tmp_path):
    old, new = tmp_path / ".uploads" / "old", tmp_path / ".uploads" / "new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    two_days_ago = time.time() - 49 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    await store_uploads(tmp_path, [upload("a.png")], [])
    assert (old.exists(), new.exists()) == (False, True)
