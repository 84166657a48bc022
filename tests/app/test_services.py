"""Only offered models can be asked for, and the pool loads each of them once."""

import asyncio
import threading

import pytest

from app.services import Services
from engines import pool as pool_module
from engines.errors import BackendUnavailableError, EngineClosedError, InvalidInputError, UnknownModelError
from engines.pool import EnginePool
from tests.fakes import FakeEngine, FakePool, FakePreprocessor, fake_spec

pytestmark = pytest.mark.anyio


async def test_only_offered_models_are_looked_up():
    services = Services(FakePool(colours=fake_spec()), ("colours",))
    (pooled,) = await services.engines(["colours", "colours"])
    assert pooled.engine.spec.name == "colours"
    with pytest.raises(UnknownModelError, match="offers colours"):
        await services.engines(["/etc"])
    with pytest.raises(InvalidInputError, match="choose at least one of colours"):
        await services.engines([])
    await services.pool.close()


@pytest.fixture
def loads(monkeypatch):
    """Let the pool load fake engines; return what it loaded."""
    loaded = []

    def load_engine(spec, engine, **_):
        loaded.append((spec.name, engine))
        if spec.name == "broken" and len(loaded) == 1:
            raise BackendUnavailableError("tower missing")
        return FakeEngine(spec)

    monkeypatch.setattr(pool_module, "resolve_model", lambda name: fake_spec(name))
    monkeypatch.setattr(pool_module, "load_engine", load_engine)
    monkeypatch.setattr(pool_module, "Preprocessor", FakePreprocessor)
    return loaded


async def test_everybody_gets_the_same_engine_loaded_once_and_warmed_up(loads):
    pool = EnginePool()
    first, second = await asyncio.gather(pool.get("a"), pool.get("a", "onnx-fp32"))
    assert first.engine is second.engine
    assert first.load_ms > 0
    assert (await pool.get("a")).load_ms == 0
    assert pool.is_loaded("a")
    assert loads == [("a", "onnx-fp32")]
    assert first.engine.engine.batches == [1, 1]  # one image, one text
    await pool.close()


async def test_loading_can_begin_before_there_is_an_event_loop(loads):
    pool = EnginePool()
    thread = threading.Thread(target=pool.start_loading, args=["a"])
    thread.start()
    thread.join()
    await pool.get("a")
    assert loads == [("a", "onnx-fp32")]
    await pool.close()


async def test_a_failed_load_reaches_all_who_wait_and_is_tried_again(loads):
    pool = EnginePool()
    results = await asyncio.gather(pool.get("broken"), pool.get("broken"), return_exceptions=True)
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
    monkeypatch.setattr(pool_module, "load_engine", lambda *a, **k: release.wait(30) and load_engine(*a, **k))
    loading = [asyncio.ensure_future(pool.get(name)) for name in ("a", "b")]  # "b" waits for its turn
    while len(pool._loading) < 2:
        await asyncio.sleep(0.001)
    closing = asyncio.ensure_future(pool.close())
    await asyncio.sleep(0.01)
    release.set()
    for task in loading:
        with pytest.raises(EngineClosedError, match="stopping"):
            await task
    await closing
