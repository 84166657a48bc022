"""The pool loads each engine once, shares it, and says what went wrong."""

import asyncio
import contextlib
import gc
import threading

import pytest

from engines import loading
from engines import pool as pool_module
from engines.artifacts import builders
from engines.errors import BackendUnavailableError, EngineClosedError
from engines.housekeeping import PoolLimits
from engines.loading import EngineKey
from engines.pool import EnginePool
from engines.worker.batched_engine import BatchedEngine
from tests.fakes import FakeEngine, FakePreprocessor, fake_spec

pytestmark = pytest.mark.anyio


@pytest.fixture
def loads(monkeypatch):
    """Let the pool load fake engines; return what it loaded."""
    loaded = []

    def load_engine(spec, engine, options):
        loaded.append((spec.name, engine))
        if spec.name == "broken" and len(loaded) == 1:
            raise BackendUnavailableError("tower missing")
        return FakeEngine(spec)

    monkeypatch.setattr(loading, "resolve_model", lambda name, options: fake_spec(name))
    monkeypatch.setattr(loading, "load_engine", load_engine)
    monkeypatch.setattr(loading, "Preprocessor", FakePreprocessor)
    monkeypatch.setattr(pool_module, "free_memory", lambda: None)  # collecting garbage takes its time
    monkeypatch.setattr(loading, "engine_identity", lambda spec, engine: f"{spec.name}/{engine}")
    return loaded


async def test_everybody_gets_the_same_engine_loaded_once_and_warmed_up(loads):
    pool = EnginePool()
    first, second = await asyncio.gather(pool.get("a"), pool.get("a", "onnx-fp32"))
    assert first.engine is second.engine
    assert first.load_ms > 0
    assert (await pool.get("a")).load_ms == 0
    assert loads == [("a", "onnx-fp32")]
    assert first.engine.engine.batches == [1, 1]  # one image, one text
    await pool.close()


async def test_loading_can_begin_before_there_is_an_event_loop(loads):
    pool = EnginePool()
    thread = threading.Thread(target=pool.start_loading, args=[["a"]])
    thread.start()
    thread.join()
    pool._loader._thread.submit(lambda: None).result()  # it comes after the load
    assert (await pool.get("a")).load_ms == 0  # nobody had to wait
    assert loads == [("a", "onnx-fp32")]
    await pool.close()


def test_a_load_that_is_stopped_after_everybody_has_left_ends_in_silence(loads, monkeypatch, caplog):
    release = threading.Event()

    def load_engine(spec, engine, options):
        release.wait()
        raise EngineClosedError("The server was stopped before it had built the engine.")

    async def ask_and_leave():
        pool = EnginePool()
        asking = asyncio.ensure_future(pool.get("a"))
        while not pool._loading:
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        release.set()
        await pool.close()

    monkeypatch.setattr(loading, "load_engine", load_engine)
    asyncio.run(ask_and_leave())
    gc.collect()  # asyncio complains when it lets the future go
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_one_wrong_name_starts_no_load_at_all(loads, monkeypatch):
    resolve = loading.resolve_model
    monkeypatch.setattr(loading, "resolve_model", lambda name, options: {"a": resolve}[name](name, options))
    with pytest.raises(KeyError):
        EnginePool().start_loading(["a", "typo"])
    assert loads == []


async def test_a_load_that_fails_in_the_background_is_logged(loads, caplog):
    pool = EnginePool()
    pool.start_loading(["broken"])
    await pool.close()
    assert "Loading broken on onnx-fp32 failed: tower missing" in caplog.text


async def test_a_load_that_the_end_of_the_server_stops_is_no_fault(loads, monkeypatch, caplog):
    monkeypatch.setattr(loading, "load_engine", lambda *_: builders.run_builder("http.server", "0"))
    pool = EnginePool()
    pool.start_loading(["a"])
    while not builders._running:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(pool.close(), 30)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_failed_load_reaches_all_who_wait_and_is_tried_again(loads, monkeypatch):
    pool = EnginePool()
    release = threading.Event()
    load_engine = loading.load_engine
    monkeypatch.setattr(loading, "load_engine", lambda *a: release.wait(30) and load_engine(*a))
    waiting = [asyncio.ensure_future(pool.get("broken")) for _ in range(2)]
    while len(pool._waiting) < 2:
        await asyncio.sleep(0.001)
    release.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [BackendUnavailableError] * 2
    assert (await pool.get("broken")).engine.spec.name == "broken"
    await pool.close()


async def test_a_closed_pool_answers_nobody(loads):
    pool = EnginePool()
    engine = (await pool.get("a")).engine
    await pool.close()
    with pytest.raises(EngineClosedError):
        await pool.get("a")
    with pytest.raises(EngineClosedError):
        await engine.embed_texts(["red"])


async def test_closing_during_a_load_is_told_as_such(loads, monkeypatch):
    pool = EnginePool()
    release = threading.Event()
    load_engine = loading.load_engine
    monkeypatch.setattr(loading, "load_engine", lambda *a: release.wait(30) and load_engine(*a))
    waiting = [asyncio.ensure_future(pool.get(name)) for name in ("a", "b")]  # "b" waits for its turn
    while len(pool._loading) < 2:
        await asyncio.sleep(0.001)
    closing = asyncio.ensure_future(pool.close())
    while not pool._closed:
        await asyncio.sleep(0.001)
    release.set()
    for task in waiting:
        with pytest.raises(EngineClosedError, match="stopping"):
            await task
    await closing


KEY_A, KEY_B = EngineKey("a", "onnx-fp32"), EngineKey("b", "onnx-fp32")


@contextlib.asynccontextmanager
async def kept(monkeypatch, **limits):
    """Yield a pool whose engines are looked after all the time, and the task that does."""
    monkeypatch.setattr(pool_module, "_HOUSEKEEPING_S", 0.001)
    pool = EnginePool(limits=PoolLimits(**limits))
    house = asyncio.ensure_future(pool.keep_house())
    yield pool, house
    await pool.close()
    await house  # it ends of itself


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def test_what_was_loaded_in_the_background_runs_without_a_request(loads, monkeypatch):
    async with kept(monkeypatch) as (pool, _):
        pool.start_loading(["a"])
        await until(lambda: KEY_A in pool.running)
        assert pool.health(KEY_A).state == "ready"
        assert (await pool.get("a")).load_ms == 0


async def test_an_engine_that_a_request_put_into_service_meanwhile_is_not_loaded_twice(loads):
    pool = EnginePool()
    pool.start_loading(["a", "b"])
    await asyncio.to_thread(pool._loader._thread.submit(lambda: None).result)
    request = asyncio.ensure_future(pool._run(KEY_B))  # a moment before
    house = asyncio.ensure_future(pool.keep_house())
    await request
    await until(lambda: KEY_A in pool.running)
    assert loads == [("a", "onnx-fp32"), ("b", "onnx-fp32")]
    assert pool._loading == {}  # nor is it kept a second time
    house.cancel()
    await pool.close()


async def test_an_idle_engine_is_unloaded_and_loaded_again_on_request(loads, monkeypatch):
    async with kept(monkeypatch, idle_unload_s=0.02) as (pool, _):
        first = (await pool.get("a")).engine
        await until(lambda: not pool.running)
        health = pool.health(KEY_A)
        assert (health.state, health.is_ready) == ("unloaded", True)
        with pytest.raises(EngineClosedError):
            await first.embed_texts(["red"])
        again = await pool.get("a")
        assert again.load_ms > 0
        assert len((await again.engine.embed_texts(["red"])).embeddings) == 1
        assert len(loads) == 2


async def test_a_request_for_an_engine_whose_neighbour_is_being_unloaded_gets_one_that_works(
    loads, monkeypatch
):
    pool = EnginePool()
    for name in "ab":
        await pool.get(name)
    close, closing = BatchedEngine.close, asyncio.Event()

    async def slow_close(engine):
        await closing.wait()
        await close(engine)

    monkeypatch.setattr(BatchedEngine, "close", slow_close)
    unloading = asyncio.ensure_future(pool._unload([KEY_A, KEY_B]))
    await asyncio.sleep(0)
    engine = (await pool.get("b")).engine
    closing.set()
    await unloading
    assert len((await engine.embed_texts(["red"])).embeddings) == 1
    await pool.close()


async def test_canaries_are_sent_at_their_interval_and_at_once_after_a_restart(loads, monkeypatch):
    async with kept(monkeypatch, canary_interval_s=0.002) as (pool, _):
        engine = (await pool.get("a")).engine.engine
        await until(lambda: len(engine.batches) >= 6)  # the warm-up and two canaries at least
    async with kept(monkeypatch, canary_interval_s=0) as (pool, _):
        batched = (await pool.get("a")).engine
        batched.images.stats.restarts += 1
        assert pool.health(KEY_A).state == "stalled"
        await until(lambda: pool.health(KEY_A).is_ready)


async def test_closing_does_not_wait_for_what_is_being_built(monkeypatch):
    monkeypatch.setattr(loading, "resolve_model", lambda name, options: fake_spec(name))
    monkeypatch.setattr(loading, "load_engine", lambda *_: builders.run_builder("http.server", "0"))
    pool = EnginePool()
    request = asyncio.ensure_future(pool.get("colours", "onnx-fp32"))
    while not builders._running:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(pool.close(), 30)
    with pytest.raises(EngineClosedError):
        await request
    assert not builders._running


async def test_housekeeping_outlives_its_own_failures(loads, monkeypatch, caplog):
    failures = []

    def broken(engines, limits):
        failures.append(1)
        raise KeyError("bug")

    monkeypatch.setattr(pool_module, "too_many", broken)
    async with kept(monkeypatch) as (pool, house):
        await until(lambda: len(failures) > 1)
        pool.start_loading(["a"])
        await until(lambda: KEY_A in pool.running)
        assert not house.done()
    assert "Looking after the engines failed" in caplog.text


async def test_the_health_of_an_engine_tells_how_its_loading_went(loads):
    pool = EnginePool()
    key = EngineKey("broken", "onnx-fp32")
    assert pool.health(key).state == "loading"
    pool.start_loading(["broken"])
    await until(lambda: pool.health(key).state == "failed")
    assert pool.health(key).problem == "tower missing"
    with pytest.raises(BackendUnavailableError):
        await pool.get("broken")
    await pool.get("broken")
    assert pool.health(key).state == "ready"
    await pool.close()


async def test_a_load_that_fails_on_request_shows_in_the_health_too(loads, monkeypatch, caplog):
    pool = EnginePool()
    await pool.get("a")
    await pool._unload([KEY_A])
    load_engine = loading.load_engine
    monkeypatch.setattr(loading, "load_engine", lambda *_: 1 / 0)
    with pytest.raises(BackendUnavailableError, match="the server's log says why"):
        await pool.get("a")
    assert "division by zero" in caplog.text
    assert pool.health(KEY_A).state == "failed"
    assert "cannot be loaded on onnx-fp32" in pool.health(KEY_A).problem
    monkeypatch.setattr(loading, "load_engine", load_engine)
    await pool.get("a")
    assert pool.health(KEY_A).state == "ready"
    await pool.close()


async def test_draining_waits_for_the_requests_in_work(loads):
    pool = EnginePool()
    assert await pool.drain(0)  # nothing runs yet
    batched = (await pool.get("a")).engine
    assert await pool.drain(0)
    batched.engine.release.clear()
    request = asyncio.ensure_future(batched.embed_texts(["red"]))
    await until(lambda: batched.is_busy)
    assert not await pool.drain(0)
    draining = asyncio.ensure_future(pool.drain(30))
    await asyncio.sleep(0)
    batched.engine.release.set()
    assert await draining
    assert request.done()
    await pool.close()


async def test_a_request_in_preparation_is_in_work(loads):
    pool = EnginePool()
    batched = (await pool.get("a")).engine
    preparing, release = threading.Event(), threading.Event()
    prepare = batched.preprocessor.prepare_text

    def slow(text):
        preparing.set()
        assert release.wait(30)
        return prepare(text)

    batched.preprocessor.prepare_text = slow
    request = asyncio.ensure_future(batched.embed_texts(["red"]))
    await asyncio.to_thread(preparing.wait, 10)
    assert batched.is_busy
    assert not await pool.drain(0)
    release.set()
    await request
    assert not batched.is_busy
    await pool.close()
