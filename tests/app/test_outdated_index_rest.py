"""What the REST API says of an index that was built with another state of a model: the requests that help."""

import pytest
from fastapi import FastAPI

from app.api.context import Context
from app.api.routes import add_routes
from app.settings import Settings
from tests.app.asgi import client
from tests.app.search_page import MODELS
from use_cases.retrieval.sources import Folder

pytestmark = pytest.mark.anyio
SENTENCE = "Send DELETE /v1/index/{gallery}, then POST /v1/index."


@pytest.fixture
async def api(changed_services):
    app = FastAPI()
    add_routes(app, Context.of(Settings(allow_indexing=True), changed_services))
    async with client(app) as api:
        yield api


async def test_a_search_names_them(api, mine):
    answer = await api.post("/v1/search", json={"gallery": mine, "query": {"text": "red"}})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, "index_mismatch")
    assert "built with another state of colours" in error["message"]
    assert error["message"].endswith(SENTENCE)


async def test_a_job_that_failed_names_them_and_they_help(api, changed_services, mine, tmp_path):
    galleries, colours = changed_services.galleries, Folder(tmp_path / "in")
    await (await galleries.add(mine, colours, MODELS)).wait()
    job = (await api.get(f"/v1/index/{mine}")).json()["job"]
    assert (job["state"], job["error"].endswith(SENTENCE)) == ("failed", True)
    listed = {each["id"]: each for each in (await api.get("/v1/index")).json()["data"]}
    assert listed[mine]["job"]["error"] == job["error"]
    assert (await api.delete(f"/v1/index/{mine}")).status_code == 200
    await (await galleries.add(mine, colours, MODELS)).wait()
    answer = await api.post("/v1/search", json={"gallery": mine, "query": {"text": "red"}})
    assert answer.json()["data"][0]["results"][0]["hits"][0]["id"] == "red.png"
