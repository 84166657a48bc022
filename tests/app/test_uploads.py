"""Uploads on the disk: their names, and that none is left behind."""

import asyncio
import errno
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from starlette.datastructures import UploadFile

from app.api import uploads
from app.api.uploads import safe_name, store_uploads
from engines.errors import InvalidInputError
from use_cases.retrieval.errors import IndexStorageError

PROJECT = Path(__file__).parents[2]
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


TWO_DAYS_AGO_S = time.time() - 48 * 3600


def left(root, name, age_s=TWO_DAYS_AGO_S):
    """Return a folder as a server leaves it that is killed."""
    folder = root / ".uploads" / name
    folder.mkdir(parents=True)
    for file in ("lock", "000000"):
        (folder / file).touch()
    os.utime(folder, (age_s, age_s))
    return folder


async def test_what_a_killed_server_left_is_removed_in_time(tmp_path):
    old, new = left(tmp_path, "old"), left(tmp_path, "new", time.time())
    stored = await store_uploads(tmp_path, [upload("a.png")], [])
    assert set((tmp_path / ".uploads").iterdir()) == {new, stored.folder}
    assert not old.exists()


async def test_files_that_somebody_still_has_are_kept_however_old_they_are(tmp_path):
    first = await store_uploads(tmp_path, [upload("a.png")], [])
    os.utime(first.folder, (TWO_DAYS_AGO_S, TWO_DAYS_AGO_S))
    await store_uploads(tmp_path, [upload("b.png")], [])
    (file,) = first.files
    assert file.read() == b"data"
    folder = first.folder
    del first, file
    await store_uploads(tmp_path, [upload("c.png")], [])
    assert not folder.exists()


_HOLDS = """
import asyncio, io, sys
from pathlib import Path
from starlette.datastructures import UploadFile
from app.api import uploads
from app.api.uploads import store_uploads
stored = asyncio.run(store_uploads(Path(sys.argv[1]), [UploadFile(io.BytesIO(b"x"), filename="a.png")], []))
print(stored.folder, flush=True)
sys.stdin.read()
"""


async def test_another_server_s_files_are_kept_until_it_is_killed(tmp_path):
    command = [sys.executable, "-c", _HOLDS, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=-1, stdout=-1, text=True) as server:
        folder = Path(server.stdout.readline().strip())
        for is_running in (True, False):
            os.utime(folder, (TWO_DAYS_AGO_S, TWO_DAYS_AGO_S))
            await store_uploads(tmp_path, [upload("a.png")], [])
            assert folder.exists() is is_running
            server.kill()
            server.wait()


async def test_servers_that_clean_up_at_once_do_not_disturb_one_another(tmp_path, caplog):
    for number in range(100):
        left(tmp_path, str(number))
    begin = threading.Barrier(4)

    def store(number):
        begin.wait(10)
        return asyncio.run(store_uploads(tmp_path, [upload(f"{number}.png")], []))

    stored = await asyncio.gather(*(asyncio.to_thread(store, number) for number in range(4)))
    assert set((tmp_path / ".uploads").iterdir()) == {each.folder for each in stored}
    assert not caplog.records


async def test_what_cannot_be_removed_does_not_stop_an_upload(tmp_path, monkeypatch, caplog):
    left(tmp_path, "old")
    monkeypatch.setattr(uploads.shutil, "rmtree", mock_denied)
    stored = await store_uploads(tmp_path, [upload("a.png")], [])
    assert stored.files.count() == 1
    assert "cannot be removed: [Errno 13] Permission denied" in caplog.text


def mock_denied(folder):
    raise PermissionError(errno.EACCES, "Permission denied")


async def test_an_archive_keeps_its_name_apart_from_single_files(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", b"data")
    archive.seek(0)
    stored = await store_uploads(tmp_path, [UploadFile(archive, filename="upload.zip")], [])
    assert stored.files.source == "zip:upload.zip"
    single = await store_uploads(tmp_path, [upload("a.png")], [])
    assert single.files.source == "upload"
