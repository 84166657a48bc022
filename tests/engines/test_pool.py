"""The pool loads each engine once, shares it, and says what went wrong."""

import asyncio
import threading

import pytest

from engines import pool as pool_module
from engines.errors import BackendUnavailableError, EngineClosedError
from engines.pool import EnginePool
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

    monkeypatch.setattr(pool_module, "resolve_model", lambda name, options: fake_spec(name))
    monkeypatch.setattr(pool_module, "load_engine", load_engine)
    monkeypatch.setattr(pool_module, "Preprocessor", FakePreprocessor)
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
    pool._loader.submit(lambda: None).result()  # it comes after the load
    assert (await pool.get("a")).load_ms == 0  # nobody had to wait
    assert loads == [("a", "onnx-fp32")]
    await pool.close()


async def test_one_wrong_name_starts_no_load_at_all(loads, monkeypatch):
    resolve = pool_module.resolve_model
    monkeypatch.setattr(
        pool_module, "resolve_model", lambda name, options: {"a": resolve}[name](name, options)
    )
    with pytest.raises(KeyError):
        EnginePool().start_loading(["a", "typo"])
    assert loads == []


async def test_a_load_that_fails_in_the_background_is_logged(loads, caplog):
    pool = EnginePool()
    pool.start_loading(["broken"])
    await pool.close()
    assert "Loading broken on onnx-fp32 failed: tower missing" in caplog.text


async def test_a_failed_load_reaches_all_who_wait_and_is_tried_again(loads, monkeypatch):
    pool = EnginePool()
    release = threading.Event()
    load_engine = pool_module.load_engine
    monkeypatch.setattr(pool_module, "load_engine", lambda *a: release.wait(30) and load_engine(*a))
    waiting = [asyncio.ensure_future(pool.get("broken")) for _ in range(2)]
    while not pool._loading or len(next(iter(pool._loading.values()))._done_callbacks) < 2:
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
    load_engine = pool_module.load_engine
    monkeypatch.setattr(pool_module, "load_engine", lambda *a: release.wait(30) and load_engine(*a))
    loading = [asyncio.ensure_future(pool.get(name)) for name in ("a", "b")]  # "b" waits for its turn
    while len(pool._loading) < 2:
        await asyncio.sleep(0.001)
    closing = asyncio.ensure_future(pool.close())
    while not pool._closed:
        await asyncio.sleep(0.001)
    release.set()
    for task in loading:
        with pytest.raises(EngineClosedError, match="stopping"):
            await task
    await closing
