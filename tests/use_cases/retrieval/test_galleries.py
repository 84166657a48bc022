"""A server's galleries: jobs that fill them one after the other, and what is refused."""

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from engines.errors import InvalidInputError
from tests.fakes import FakePool
from tests.use_cases.retrieval.pictures import save_colours, save_image, stored_spec
from use_cases.retrieval import galleries as galleries_module
from use_cases.retrieval.errors import IndexBusyError, IndexNotAllowedError, UnknownIndexError
from use_cases.retrieval.galleries import Galleries, GalleryOptions
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.sources import Folder

pytestmark = pytest.mark.anyio
MODELS = ["colours"]


@pytest.fixture
async def pool():
    pool = FakePool(colours=stored_spec(), shapes=stored_spec("shapes"))
    yield pool
    await pool.close()


@pytest.fixture
async def galleries(tmp_path, pool):
    """Return galleries that may be changed; what they started is stopped at the end."""
    galleries = make_galleries(tmp_path, pool)
    yield galleries
    await galleries.close()


def make_galleries(tmp_path, pool, **options):
    async def engines(models):
        return [await pool.get(model) for model in models]

    return Galleries(GalleryOptions(root=tmp_path / "indexes", **({"may_change": True} | options)), engines)


@pytest.fixture
def colours(tmp_path):
    return Folder(save_colours(tmp_path / "in"))


def save_shades(folder):
    """Write two pictures that are unlike the colours."""
    for name, shade in (("light", 220), ("dark", 40)):
        save_image(folder / f"{name}.png", (shade,) * 3)
    return folder


def hold_back(pool):
    """Keep the fake engine from answering; return what lets it."""
    pool.running["colours"].engine.release.clear()
    return pool.running["colours"].engine.release


async def test_a_gallery_is_made_filled_and_searchable(galleries, colours):
    job = await galleries.add("holiday", colours, MODELS)
    await job.wait()
    assert (job.state, job.progress.added, job.error) == ("done", 3, "")
    assert galleries.names() == ["demo", "holiday"]
    status = await galleries.status("holiday")
    assert (status.images, status.job) == ({"colours": 3}, job)
    assert len(await galleries.table("holiday", stored_spec())) == 3


async def test_another_server_finds_the_galleries_again(galleries, colours, tmp_path, pool):
    await (await galleries.add("holiday", colours, MODELS)).wait()
    others = make_galleries(tmp_path, pool)
    assert others.names() == ["demo", "holiday"]
    assert (await others.status("holiday")).images == {"colours": 3}


async def test_the_shipped_gallery_is_built_once(galleries):
    job = await galleries.add_demo(MODELS)
    assert await galleries.add_demo(MODELS) is job
    await job.wait()
    assert job.progress.added == job.progress.total >= 200
    again = await galleries.add_demo(MODELS)
    await again.wait()
    assert (again.progress.added, again.progress.unchanged) == (0, job.progress.total)


async def test_the_shipped_gallery_is_built_anew_for_another_state_of_a_model(galleries, pool):
    await (await galleries.add_demo(MODELS)).wait()
    pool.running.clear()
    pool.specs["colours"] = replace(stored_spec(), image_size=16, prompt_templates=())
    (stored_spec().folder / "model.safetensors").write_bytes(b"others")
    try:
        job = await galleries.add_demo(MODELS)
        await job.wait()
    finally:
        (stored_spec().folder / "model.safetensors").unlink()
    assert (job.state, job.progress.added) == ("done", job.progress.total)


async def test_a_second_job_for_a_gallery_is_refused_and_for_another_waits(galleries, colours, pool):
    await pool.get("colours")
    release = hold_back(pool)
    first = await galleries.add("one", colours, MODELS)
    second = await galleries.add("two", colours, MODELS)
    await asyncio.sleep(0.05)
    assert (first.state, second.state) == ("running", "waiting")
    with pytest.raises(IndexBusyError, match="added to the gallery 'one' already"):
        await galleries.add("one", colours, MODELS)
    release.set()
    await second.wait()
    assert (first.state, second.state) == ("done", "done")


async def test_the_clock_of_a_job_runs_while_it_works_and_no_longer(galleries, colours, pool):
    await pool.get("colours")
    release = hold_back(pool)
    await galleries.add("one", colours, MODELS)
    waiting = await galleries.add("two", colours, MODELS)
    failing = await galleries.add("three", colours, ["no such model"])
    await asyncio.sleep(0.05)
    assert (waiting.progress.elapsed_s, waiting.progress.remaining_s) == (0.0, None)
    release.set()
    await failing.wait()
    assert waiting.progress.elapsed_s > 0
    assert waiting.progress.elapsed_s == waiting.progress.elapsed_s  # it stands still
    assert failing.progress.elapsed_s == 0.0


async def test_of_two_requests_at_once_one_is_refused(galleries, colours):
    adding = (galleries.add("one", colours, MODELS) for _ in range(2))
    first, second = await asyncio.gather(*adding, return_exceptions=True)
    assert isinstance(second, IndexBusyError)
    await first.wait()
    assert first.state == "done"


async def test_a_job_can_be_cancelled_and_its_files_are_removed(galleries, colours, pool, tmp_path):
    await pool.get("colours")
    release = hold_back(pool)
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    job = await galleries.add("one", colours, MODELS, files_folder=uploads)
    while not job.progress.total:
        await asyncio.sleep(0.01)
    await galleries.cancel("one")
    release.set()
    assert (job.state, job.progress.added, uploads.exists()) == ("cancelled", 0, False)


async def test_a_job_that_never_began_removes_its_files_too(galleries, colours, pool, tmp_path):
    await pool.get("colours")
    release = hold_back(pool)
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    await galleries.add("one", colours, MODELS)
    job = await galleries.add("two", colours, MODELS, files_folder=uploads)
    await galleries.cancel("two")
    release.set()
    assert (job.state, uploads.exists()) == ("cancelled", False)


async def test_a_refused_job_removes_its_files(galleries, tmp_path):
    empty, uploads = tmp_path / "empty", tmp_path / "uploads"
    for folder in (empty, uploads):
        folder.mkdir()
    with pytest.raises(InvalidInputError, match="nothing in it"):
        await galleries.add("one", Folder(empty), MODELS, files_folder=uploads)
    assert not uploads.exists()


async def test_a_job_that_fails_says_why(galleries, colours):
    job = await galleries.add("one", colours, ["no such model"])
    await job.wait()
    assert (job.state, job.error) == ("failed", "It failed inside the server, whose log says why.")


async def test_images_and_galleries_are_removed(galleries, colours):
    await (await galleries.add("one", colours, ["colours", "shapes"])).wait()
    assert await galleries.remove("one", ["red.png"]) == 1
    assert (await galleries.status("one")).images == {"colours": 2, "shapes": 2}
    with pytest.raises(UnknownIndexError, match="has no image"):
        await galleries.remove("one", ["red.png"])
    await galleries.drop("one")
    assert galleries.names() == ["demo"]
    with pytest.raises(UnknownIndexError, match="There is no gallery 'one'"):
        await galleries.status("one")


async def test_of_two_removals_at_once_one_finds_nothing(galleries, colours):
    await (await galleries.add("one", colours, MODELS)).wait()
    done = await asyncio.gather(galleries.drop("one"), galleries.drop("one"), return_exceptions=True)
    (error,) = [each for each in done if each is not None]  # either of them may be the second
    assert isinstance(error, UnknownIndexError)
    assert galleries.names() == ["demo"]


async def test_a_gallery_that_is_opened_while_somebody_removes_it_is_not_made_again(
    galleries, colours, tmp_path, pool, monkeypatch
):
    await (await galleries.add("one", colours, MODELS)).wait()
    folder, first = tmp_path / "indexes" / "one", threading.Lock()

    def open_slowly(*args, **options):
        if first.acquire(blocking=False):
            for _ in range(20):
                if folder.exists():
                    time.sleep(0.02)
        return ImageIndex(*args, **options)

    monkeypatch.setattr("use_cases.retrieval.galleries.ImageIndex", open_slowly)
    others = make_galleries(tmp_path, pool)  # which have opened nothing yet
    await asyncio.gather(others.status("one"), others.drop("one"))
    assert others.names() == ["demo"]
    assert not folder.exists()


async def test_removing_images_from_a_gallery_that_goes_does_not_make_it_again(
    galleries, colours, tmp_path, monkeypatch
):
    await (await galleries.add("one", colours, MODELS)).wait()
    folder, remove = tmp_path / "indexes" / "one", galleries_module._remove

    def remove_slowly(index, names):
        for _ in range(20):
            if folder.exists():
                time.sleep(0.02)
        return remove(index, names)

    monkeypatch.setattr(galleries_module, "_remove", remove_slowly)
    removed, _ = await asyncio.gather(galleries.remove("one", ["red.png"]), galleries.drop("one"))
    assert removed == 1
    assert galleries.names() == ["demo"]


@pytest.mark.parametrize("name", ["", "Über", "../out", "a/b", "a" * 64, ".hidden", "a b"])
async def test_a_name_that_cannot_be_a_folder_is_refused(galleries, colours, name):
    with pytest.raises(InvalidInputError, match="cannot be called"):
        await galleries.add(name, colours, MODELS)


async def test_the_shipped_gallery_stays_as_it_is(galleries, colours):
    for change in (
        galleries.add("demo", colours, MODELS),
        galleries.remove("demo", ["cat.jpg"]),
        galleries.drop("demo"),
        galleries.cancel("demo"),
    ):
        with pytest.raises(InvalidInputError, match="stays as it is"):
            await change


async def test_a_server_that_allows_no_changes_refuses_them(tmp_path, pool, colours):
    galleries = make_galleries(tmp_path, pool, may_change=False)
    for change in (
        galleries.add("one", colours, MODELS),
        galleries.remove("one", ["cat.jpg"]),
        galleries.drop("one"),
        galleries.cancel("one"),
    ):
        with pytest.raises(IndexNotAllowedError, match="lets nobody change"):
            await change


async def test_there_are_limits(tmp_path, pool, colours):
    galleries = make_galleries(tmp_path, pool, max_galleries=1, max_images=4)
    await (await galleries.add("one", colours, MODELS)).wait()
    same = await galleries.add("one", colours, MODELS)
    await same.wait()
    assert (same.state, same.progress.unchanged) == ("done", 3)
    full = await galleries.add("one", Folder(save_shades(tmp_path / "more")), MODELS)
    await full.wait()
    assert (full.state, full.error) == (
        "failed",
        "There is no room for more than 4 images, so some were not added; those that were added stay.",
    )
    assert (await galleries.status("one")).images == {"colours": 4}
    with pytest.raises(InvalidInputError, match="There are 1 galleries already"):
        await galleries.add("two", colours, MODELS)
    crowded = make_galleries(tmp_path, pool, max_images=2)
    with pytest.raises(InvalidInputError, match="may have 2 images, and these are 3"):
        await crowded.add("two", colours, MODELS)
    assert galleries.names() == ["demo", "one"]


async def test_closing_stops_all_jobs(galleries, colours, pool):
    await pool.get("colours")
    release = hold_back(pool)
    jobs = [await galleries.add(name, colours, MODELS) for name in ("one", "two")]
    closing = asyncio.ensure_future(galleries.close())
    await asyncio.sleep(0.05)
    release.set()
    await closing
    assert all(job.has_ended for job in jobs)


async def test_an_index_of_another_state_of_the_model_is_reported(galleries, colours, pool):
    await (await galleries.add("one", colours, MODELS)).wait()
    pool.running.clear()
    pool.specs["colours"] = replace(stored_spec(), dim=4)
    galleries._open.clear()
    job = await galleries.add("one", colours, MODELS)
    await job.wait()
    assert "another state of colours" in job.error
