"""What was embedded is kept chunk by chunk: a run that was ended goes on, and an equal one embeds nothing."""

import asyncio
import os
import threading

import numpy as np
import pytest

from engines.errors import BackendUnavailableError, InferenceError, InvalidInputError
from engines.pool import PooledEngine
from tests.fakes import FakeEngine, fake_batched
from tests.use_cases.labelled.colours import colour_spec, hashed_colours, write_colours
from use_cases.labelled import chunk_store, embedding
from use_cases.labelled.chunk_store import ChunkStore
from use_cases.labelled.embedding import ENSEMBLE, LABEL_ALONE, embed_labelled
from use_cases.labelled.files import open_labelled
from use_cases.labelled.hashing import hash_set

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(embedding, "_IMAGE_CHUNK", 2)
    monkeypatch.setattr(embedding, "_TEXT_CHUNK", 4)


async def embed(hashed, cache_dir, engine=None, templates=(), *, fresh=False, identity="one"):
    async with fake_batched(engine or FakeEngine(colour_spec())) as batched:
        store = ChunkStore(cache_dir, hashed.sha256, identity, fresh=fresh)
        return await embed_labelled(PooledEngine(batched), hashed, store, templates)


class Ended(FakeEngine):
    """Gives up when it has embedded four images."""

    num_images = 0

    def embed_pixels(self, pixels):
        if self.num_images >= 4:
            raise InferenceError("out of memory")
        self.num_images += len(pixels)
        return super().embed_pixels(pixels)


async def test_a_run_that_failed_goes_on_where_it_was(tmp_path):
    hashed = hashed_colours(tmp_path / "data", each=4)  # 12 images, 6 chunks
    with pytest.raises(InferenceError, match="out of memory"):
        await embed(hashed, tmp_path / "cache", Ended(colour_spec()))
    rest = await embed(hashed, tmp_path / "cache")
    assert (rest.num_reused_images, rest.num_images) == (4, 8)
    assert (rest.num_reused_texts, rest.num_texts) == (6, 0)
    whole = await embed(hashed, tmp_path / "other")
    assert (whole.num_reused_images, whole.num_images) == (0, 12)
    np.testing.assert_array_equal(rest.images, whole.images)
    for way in (LABEL_ALONE, ENSEMBLE):
        np.testing.assert_array_equal(rest.labels[way], whole.labels[way])


async def test_a_run_that_was_cancelled_goes_on_where_it_was(tmp_path):
    hashed = hashed_colours(tmp_path / "data", each=4)
    held = threading.Event()

    class Held(FakeEngine):
        num_images = 0

        def embed_pixels(self, pixels):
            if self.num_images >= 4:
                held.set()
                self.release.clear()
            self.num_images += len(pixels)
            return super().embed_pixels(pixels)

    engine = Held(colour_spec())
    task = asyncio.create_task(embed(hashed, tmp_path / "cache", engine))
    assert await asyncio.to_thread(held.wait, 20)
    task.cancel()
    engine.release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    rest = await embed(hashed, tmp_path / "cache")
    assert (rest.num_reused_images, rest.num_images) == (4, 8)


async def test_an_equal_run_embeds_nothing_and_a_fresh_one_everything(tmp_path):
    hashed = hashed_colours(tmp_path / "data")
    first = await embed(hashed, tmp_path / "cache")
    again = await embed(hashed, tmp_path / "cache")
    assert (again.num_images, again.num_texts, again.image_s, again.text_s) == (0, 0, 0, 0)
    assert (again.num_reused_images, again.num_reused_texts) == (6, 6)
    np.testing.assert_array_equal(first.images, again.images)
    fresh = await embed(hashed, tmp_path / "cache", fresh=True)
    assert (fresh.num_reused_images, fresh.num_reused_texts, fresh.num_images) == (0, 0, 6)
    assert (await embed(hashed, tmp_path / "cache", identity="another")).num_reused_images == 0


async def test_other_templates_reuse_images_and_prompts_that_are_the_same(tmp_path):
    hashed = hashed_colours(tmp_path / "data")
    await embed(hashed, tmp_path / "cache")
    other = await embed(hashed, tmp_path / "cache", templates=("{label} {label}",))
    assert other.num_reused_images == 6
    assert other.templates == {LABEL_ALONE: ("{label}",), ENSEMBLE: ("{label} {label}",)}


async def test_the_two_ways_of_asking_are_what_classify_would_ask(tmp_path):
    embedded = await embed(hashed_colours(tmp_path / "data"), tmp_path / "cache")
    np.testing.assert_allclose(embedded.labels[LABEL_ALONE], np.eye(3)[[2, 1, 0]])  # blue, green, red
    np.testing.assert_allclose(embedded.labels[ENSEMBLE], np.eye(3)[[2, 1, 0]])
    assert embedded.num_truncated == 0


async def test_a_damaged_chunk_is_computed_again(tmp_path, caplog):
    hashed = hashed_colours(tmp_path / "data")
    await embed(hashed, tmp_path / "cache")
    (folder,) = (tmp_path / "cache" / ".evaluations").iterdir()
    damaged = sorted(folder.glob("images-*"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    again = await embed(hashed, tmp_path / "cache")
    assert (again.num_images, again.num_reused_images) == (2, 4)
    assert "is damaged and is computed again" in caplog.text
    assert (await embed(hashed, tmp_path / "cache")).num_images == 0


async def test_an_image_that_cannot_be_decoded_is_told_also_by_a_later_run(tmp_path):
    folder = write_colours(tmp_path / "data")
    (folder / "red" / "broken.png").write_bytes(b"no image")
    hashed = hash_set(open_labelled(str(folder)))
    position = [image.name for image in hashed.dataset.images].index("red/broken.png")
    for _ in range(2):
        embedded = await embed(hashed, tmp_path / "cache")
        assert list(embedded.unreadable) == [position]
        assert embedded.unreadable[position].startswith("'broken.png' is not a JPEG")


async def test_an_image_that_could_not_be_read_for_a_moment_is_tried_again(tmp_path):
    folder = write_colours(tmp_path / "data")
    hashed = hash_set(open_labelled(str(folder)))
    image = folder / hashed.dataset.images[0].name
    image.rename(tmp_path / "away.png")
    assert list((await embed(hashed, tmp_path / "cache")).unreadable) == [0]
    (tmp_path / "away.png").rename(image)
    assert not (await embed(hashed, tmp_path / "cache")).unreadable


async def test_no_image_that_can_be_decoded_is_an_error(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "x.png").write_bytes(label.encode())
    with pytest.raises(
        InvalidInputError, match="None of the 2 images of 'data' can be decoded; the first, '"
    ):
        await embed(hash_set(open_labelled(str(tmp_path / "data"))), tmp_path / "cache")


async def test_only_the_datasets_that_were_used_last_are_kept(tmp_path, monkeypatch):
    for second, name in enumerate(("one", "two", "three")):
        store = ChunkStore(tmp_path, name, "engine")
        store.put("texts", [name], rows=np.zeros(1000))
        os.utime(store._folder, (second, second))
    monkeypatch.setattr(chunk_store, "_MOST_BYTES", 20_000)  # two of them
    ChunkStore(tmp_path, "four", "engine")
    kept = {
        name for name in ("one", "two", "three") if ChunkStore(tmp_path, name, "engine").get("texts", [name])
    }
    assert kept == {"two", "three"}


async def test_what_cannot_be_kept_whole_leaves_nothing_behind(tmp_path, monkeypatch):
    store = ChunkStore(tmp_path, "data", "engine")

    def interrupted(file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.put("texts", ["x"], rows=np.zeros(1000))
    assert not list(tmp_path.rglob("*.part"))


async def test_a_run_on_many_engines_finds_what_all_of_them_made(tmp_path):
    engines = [f"engine {number}" for number in range(30)]
    for engine in engines:
        ChunkStore(tmp_path, "data", engine).put("texts", ["x"], rows=np.zeros(1000))
    assert all(ChunkStore(tmp_path, "data", engine).get("texts", ["x"]) for engine in engines)


def test_a_dataset_that_another_run_removes_meanwhile_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(chunk_store, "_MOST_BYTES", 0)
    first = ChunkStore(tmp_path, "one", "engine")
    first.put("texts", ["one"], rows=np.zeros(1))
    (tmp_path / ".evaluations" / "gone").symlink_to(tmp_path / "nowhere")
    second = ChunkStore(tmp_path, "two", "engine")
    second.put("texts", ["two"], rows=np.zeros(1))
    assert second.get("texts", ["two"]) is not None
    assert first.get("texts", ["one"]) is None


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BackendUnavailableError, match=r"Cannot keep embeddings in .*SIGLIP_CACHE_DIR"):
        ChunkStore(tmp_path / "file", "dataset", "engine")
