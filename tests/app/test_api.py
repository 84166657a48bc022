"""The REST routes beside the mounted Gradio app."""

import httpx
import pytest
from fastapi import FastAPI

from app.api.routes import build_router
from app.services import Services
from tests.fakes import FakePool

pytestmark = pytest.mark.anyio


async def test_healthz_says_ok():
    app = FastAPI()
    app.include_router(build_router(Services(FakePool(), ())))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
