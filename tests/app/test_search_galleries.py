"""Galleries of one's own on the page, without a browser: filled, stopped, removed."""

import os
import zipfile
from pathlib import Path

import gradio as gr
import pytest

from app.ui.search_gallery_handlers import GalleryHandlers
from app.ui.search_progress import render_status
from app.ui.search_uploads import named_folder, store_dropped
from engines.errors import InvalidInputError
from tests.app.search_page import MODELS, Page, begin_to_fill, page_request, search
from tests.use_cases.retrieval.pictures import RED, save_colours, save_image
from use_cases.retrieval.errors import IndexMismatchError, IndexNotAllowedError, IndexStorageError
from use_cases.retrieval.galleries import GalleryStatus
from use_cases.retrieval.jobs import IndexJob

pytestmark = pytest.mark.anyio


@pytest.fixture
async def allowed():
    """Return the request of a page that may change galleries."""
    return await page_request()


async def test_dropped_pictures_become_a_gallery_with_captions(services, upload, allowed, tmp_path):
    handlers = GalleryHandlers(services)
    save_image(tmp_path / "r.png", RED)
    (tmp_path / "r.txt").write_text("a red square")
    (tmp_path / "bad.png").write_text("no picture")
    dropped = [upload(tmp_path / name) for name in ("r.png", "r.txt")]
    dropped.append(upload(tmp_path / "bad.png", "Größe <b>.png"))
    shown = await handlers.on_add("new", dropped, "", list(MODELS), allowed)
    gallery, status, timer, cancel, files, folder = shown
    assert (gallery["value"], "new" in gallery["choices"], files, folder) == ("new", True, None, "")
    assert timer["active"]
    assert cancel["visible"]
    assert "new" in status
    await (await services.galleries.status("new")).job.wait()
    status, timer, cancel = await handlers.on_watch("new", allowed)
    page = Page(status)
    assert "up to date" in page.text
    assert "2 of 2" in page.text
    assert "1 added · 1 unusable" in page.text
    assert "Größe <b>.png : The image" in page.text
    assert not timer["active"]
    assert not cancel["visible"]
    page, _ = await search(services, gallery="new", text="red")
    assert "a red square" in page.text
    again = await handlers.on_open("gone", allowed)
    assert (again[0]["value"], again[0]["choices"]) == ("demo", ["demo", "new"])


async def test_a_gallery_is_removed_after_a_question(services, mine, allowed):
    handlers = GalleryHandlers(services)
    shown, question = await handlers.on_ask(mine, allowed)
    assert shown["visible"]
    assert "with its 3 images" in Page(question).text
    gallery, *_, confirmation = await handlers.on_remove(mine, allowed)
    assert (gallery["value"], gallery["choices"], confirmation["visible"]) == ("demo", ["demo"], False)
    assert (await handlers.on_watch(mine, allowed))[0] == ""
    for action in (handlers.on_ask, handlers.on_remove, handlers.on_cancel):
        with pytest.raises(gr.Error, match="shipped"):
            await action("demo", allowed)


async def test_a_damaged_gallery_is_said_to_be_and_can_be_removed(services, mine, allowed, monkeypatch):
    handlers = GalleryHandlers(services)

    async def fail(name):
        raise IndexStorageError("The index cannot be opened: it is damaged.")

    with monkeypatch.context() as patch:
        patch.setattr(services.galleries, "status", fail)
        galleries, status, timer, _ = await handlers.on_open(mine, allowed)
        assert (galleries["value"], "it is damaged" in status, timer["active"]) == (mine, True, False)
        _, question = await handlers.on_ask(mine, allowed)
        assert "it is damaged and cannot be read" in Page(question).text
    gallery, *_ = await handlers.on_remove(mine, allowed)
    assert gallery["choices"] == ["demo"]


async def test_a_running_job_can_be_stopped(services, allowed, tmp_path):
    engine = await begin_to_fill(services, tmp_path)
    handlers = GalleryHandlers(services)
    status, timer, cancel = await handlers.on_watch("mine", allowed)
    assert (timer["active"], cancel["visible"]) == (True, True)
    status, timer, cancel = await handlers.on_cancel("mine", allowed)  # while the engine answers nobody
    engine.release.set()
    assert "stopped; what was added stays" in Page(status).text
    assert (timer["active"], cancel["visible"]) == (False, False)
    assert (await services.galleries.status("mine")).images == {"colours": 0}


async def test_a_page_without_the_right_sees_a_job_and_stops_nothing(services, tmp_path):
    refused = await page_request(may_change=False)
    handlers = GalleryHandlers(services)
    engine = await begin_to_fill(services, tmp_path)
    _, timer, cancel = await handlers.on_watch("mine", refused)
    assert (timer["active"], cancel["visible"]) == (True, False)
    assert [each["visible"] for each in await handlers.on_rights(refused)] == [False, False]
    assert [each["visible"] for each in await handlers.on_rights(await page_request())] == [True, True]
    add = handlers.on_add("new", None, str(tmp_path / "in"), list(MODELS), refused)
    changes = (handlers.on_ask, handlers.on_remove, handlers.on_cancel)
    for change in (add, *(handler("mine", refused) for handler in changes)):
        with pytest.raises(gr.Error, match="This page may only search"):
            await change
    with pytest.raises(gr.Error, match="This page may only search"):
        await handlers.on_remove("mine", gr.Request())  # of unknown origin
    engine.release.set()
    job = (await services.galleries.status("mine")).job
    await job.wait()
    assert (job.state, services.galleries.names()) == ("done", ["demo", "mine"])


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (("mine", None, "", list(MODELS)), "nothing to add"),
        (("mine", "text", "", list(MODELS)), "must be a list"),
        (("mine", [7], "", list(MODELS)), "uploaded first"),
        (("mine", [{"path": "/etc/passwd"}], "", list(MODELS)), "upload it again"),
        (("mine", [{}], "/tmp", list(MODELS)), "one at a time"),
        (("mine", None, "/", list(MODELS)), "Only folders below"),
        (("mine", None, "~nobody-of-that-name/x", list(MODELS)), "no folder's name"),
        (("mine", None, "a\0b", list(MODELS)), "no folder's name"),
        (("mine", None, "", []), "at least one of the models"),
        (("mine", None, "", ["/etc"]), "at least one of the models"),
    ],
)
async def test_what_cannot_be_added_is_a_toast(services, allowed, sent, sentence):
    with pytest.raises(gr.Error, match=sentence):
        await GalleryHandlers(services).on_add(*sent, allowed)


async def test_the_shipped_gallery_and_bad_names_cannot_be_filled(services, upload, allowed, tmp_path):
    dropped = [upload(save_image(tmp_path / "r.png", RED))]
    for name, sentence in (("demo", "shipped"), ("../x", "cannot be called")):
        with pytest.raises(gr.Error, match=sentence):
            await GalleryHandlers(services).on_add(name, dropped, "", list(MODELS), allowed)


async def test_an_archive_comes_alone(upload, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", b"data")
    archive = upload(tmp_path / "a.zip")
    stored = await store_dropped(tmp_path, [archive])
    assert stored.files.source == "zip:a.zip"
    with pytest.raises(InvalidInputError, match="one zip archive by itself"):
        await store_dropped(tmp_path, [archive, archive])
    Path(archive["path"]).unlink()  # as Gradio does after a while
    assert [file.read() for file in stored.files] == [b"data"]


async def test_dropped_files_are_removed_after_the_job_and_when_they_cannot_be_used(
    services, upload, allowed, tmp_path
):
    handlers, root = GalleryHandlers(services), services.gallery_options.root
    dropped = [upload(save_image(tmp_path / "r.png", RED))]
    await handlers.on_add("new", dropped, "", list(MODELS), allowed)
    assert len(list(root.glob(".uploads/*"))) == 1
    await (await services.galleries.status("new")).job.wait()
    assert not list(root.glob(".uploads/*"))
    (tmp_path / "a.zip").write_text("no archive")
    for name, sent, sentence in (
        ("other", [upload(tmp_path / "a.zip")], "zip archive"),
        ("demo", dropped, "shipped"),
    ):
        with pytest.raises(gr.Error, match=sentence):
            await handlers.on_add(name, sent, "", list(MODELS), allowed)
    assert not list(root.glob(".uploads/*"))


async def test_what_a_killed_server_left_is_swept_by_the_page_as_well(upload, tmp_path):
    left = tmp_path / ".uploads" / "left"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    stored = await store_dropped(tmp_path, [upload(save_image(tmp_path / "r.png", RED))])
    assert list((tmp_path / ".uploads").iterdir()) == [stored.folder]


def test_only_allowed_folders_can_be_named(tmp_path):
    allowed = tmp_path / "allowed"
    save_colours(allowed / "in")
    (allowed / "link").symlink_to(tmp_path)
    assert named_folder(str(allowed / "in"), (allowed,)).count() == 3
    for name in (str(tmp_path), f"{allowed}/..", str(allowed / "link")):
        with pytest.raises(IndexNotAllowedError, match="Only folders below"):
            named_folder(name, (allowed,))
    with pytest.raises(InvalidInputError, match="no folder"):
        named_folder(str(allowed / "gone"), (allowed,))


def test_progress_is_drawn_with_rate_and_remaining_time():
    job = IndexJob([], None, MODELS)
    job.state, job.progress.total = "running", 40
    job.progress.begin()
    job.progress.advance(10)
    job.progress.added = 10
    page = Page(render_status(GalleryStatus("mine", {}, job)))
    assert "10 of 40" in page.text
    assert "images/s" in page.text
    assert "s left" in page.text
    job.progress.notes.append("No ANN index <yet>.")
    assert "No ANN index <yet>." in Page(render_status(GalleryStatus("mine", {}, job))).text
    job.state, job.failure = "failed", IndexStorageError("The disk is full <now>.")
    assert "failed. The disk is full <now>." in Page(render_status(GalleryStatus("mine", {}, job))).text
    job.failure = IndexMismatchError("The model has changed.")
    assert "“Add your own images” has both" in render_status(GalleryStatus("mine", {}, job))
    job.state = "done"
    assert render_status(GalleryStatus("demo", {}, job)) == ""
