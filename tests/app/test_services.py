"""Only offered models can be asked for."""

import pytest

from app.services import Services
from engines.errors import InvalidInputError, UnknownModelError
from tests.fakes import FakePool, fake_spec

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
