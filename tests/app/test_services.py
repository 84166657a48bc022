"""Only offered models can be asked for."""

import pytest

from app import services as services_module
from app.services import Services, build_pool, build_services
from app.settings import Settings
from engines.errors import InvalidInputError, QualityGateError, UnknownModelError
from engines.loading import EngineKey
from engines.pool import EnginePool
from tests.fakes import FakePool, fake_spec
from tests.use_cases.retrieval.pictures import stored_spec
from use_cases.retrieval.galleries import GalleryOptions

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


@pytest.mark.parametrize("method", ["engines", "passing_engines"])
async def test_an_engine_is_kept_while_the_next_one_is_loaded(method):
    kept = []

    class SlowPool(FakePool):
        async def get(self, model, engine=None):
            kept.append([engine.is_kept for engine in self.running.values()])
            return await super().get(model, engine)

    services = Services(SlowPool(one=fake_spec("one"), two=fake_spec("two")), ("one", "two"))
    await getattr(services, method)(["one", "two"])
    assert kept == [[], [True]]
    assert not any(engine.is_kept for engine in services.pool.running.values())
    await services.pool.close()


async def test_a_failed_quality_gate_leaves_the_other_models_their_answer():
    class GatedPool(FakePool):
        async def get(self, model, engine=None):
            if model == "coarse":
                raise QualityGateError("It failed.")
            return await super().get(model, engine)

    services = Services(GatedPool(fine=fake_spec("fine")), ("coarse", "fine"))
    passing, failing = await services.passing_engines(["coarse", "fine"])
    assert [pooled.engine.spec.name for pooled in passing] == ["fine"]
    assert str(failing["coarse"]) == "It failed."
    with pytest.raises(QualityGateError):
        await services.passing_engines(["coarse"])
    with pytest.raises(QualityGateError):
        await services.engines(["coarse", "fine"])
    await services.pool.close()


async def test_what_is_not_ready_and_its_quality_are_told_without_loading(tmp_path):
    services = Services(build_pool(Settings(cache_dir=tmp_path)), ("siglit-mini",))
    key = EngineKey("siglit-mini", "onnx-int4")
    assert await services.not_ready(["siglit-mini"], "onnx-int4") == [key]
    assert await services.qualities(["siglit-mini"], "onnx-int4") == {key: None}
    with pytest.raises(UnknownModelError, match="Unknown engine"):
        await services.engines(["siglit-mini"], "tensorrt")
    await services.pool.close()


@pytest.mark.parametrize(("named", "offered"), [(None, ("best", "second")), ("mine", ("mine",))])
async def test_the_best_models_at_hand_are_offered_unless_some_are_named(monkeypatch, caplog, named, offered):
    caplog.set_level("INFO", "app")
    monkeypatch.setattr(services_module, "default_models", lambda: ("best", "second"))
    monkeypatch.setattr(EnginePool, "start_loading", lambda self, models, engine: None)
    services = build_services(Settings(models=named))
    assert services.models == offered
    assert caplog.messages == [f"Offering {', '.join(offered)}."]
    await services.pool.close()


@pytest.mark.parametrize("download", [True, False])
async def test_downloads_can_be_forbidden(download):
    pool = build_pool(Settings(download=download))
    assert pool._loader._options.allow_download is download
    await pool.close()


async def test_the_demo_gallery_is_built_with_the_models_that_load(tmp_path, monkeypatch, caplog):
    class DamagedPool(FakePool):
        async def get(self, model, engine=None):
            if model == "damaged":
                raise InvalidInputError("It is damaged.")
            return await super().get(model, engine)

    monkeypatch.setattr(services_module, "_REST_S", 0)
    pool = DamagedPool(colours=stored_spec())
    services = Services(
        pool, ("damaged", "colours"), gallery_options=GalleryOptions(root=tmp_path, builds_demo=True)
    )
    await services.build_demo_gallery()
    status = await services.galleries.status("demo")
    await status.job.wait()
    assert (status.job.models, status.job.state) == (("colours",), "done")
    assert "without damaged: It is damaged." in caplog.text
    await services.close()
