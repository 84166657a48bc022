"""All of the middleware together, in the order of the server, behind a real one and under FastAPI."""

import asyncio
import json
import logging
import socket
import time
from contextlib import closing

import pytest
from fastapi import FastAPI, Request

from app.api.middleware.access_log import AccessLog
from app.api.middleware.api_keys import ApiKeys
from app.api.middleware.body_limit import BodyLimit
from app.api.middleware.rate_limit import RateLimit
from app.api.middleware.scope import RequestScope
from tests.app import patient
from tests.app.asgi import serving

KEY = {"X-API-Key": "good-key"}


def build_app():
    api = FastAPI()

    @api.post("/v1/size")
    async def size(request: Request):
        return len(await request.body())

    @api.post("/v1/wait")
    async def wait(body: dict[str, str]):
        await asyncio.sleep(60)

    @api.get("/v1/bug")
    async def bug():
        raise RuntimeError("a secret in the traceback")

    # Starlette puts what is added last outside.
    api.add_middleware(RequestScope, default_timeout_s=30)
    api.add_middleware(BodyLimit, max_bytes=100_000)
    api.add_middleware(RateLimit, per_minute=30)
    api.add_middleware(ApiKeys, keys=["good-key"])
    api.add_middleware(AccessLog)
    return api


@pytest.fixture(scope="module")
def address():
    with serving(build_app()) as address:
        yield address


@pytest.fixture
def http(address):
    with patient.Client(base_url=f"http://{address[0]}:{address[1]}", headers=KEY, trust_env=False) as http:
        yield http


@pytest.fixture
def line(caplog):
    """Wait for the line of a request that the server ends in its own time."""
    caplog.set_level(logging.INFO, logger="siglip.access")

    def wait():
        for _ in range(500):
            if lines := [r.getMessage() for r in caplog.records if r.name == "siglip.access"]:
                return json.loads(lines[0])
            time.sleep(0.01)
        pytest.fail("nothing was logged")

    return wait


def code(response):
    return response.json()["error"]["code"]


def test_a_good_request_passes_all_of_them(http, line):
    response = http.post("/v1/size", content=b"x" * 100_000)
    assert (response.status_code, response.json()) == (200, 100_000)
    assert line()["bytes_in"] == 100_000
    assert line()["request_id"] == response.headers["X-Request-ID"]


def test_a_refusal_has_an_id_and_a_line(http, line):
    response = http.post("/v1/size", headers={"X-API-Key": "bad"})
    assert (response.status_code, code(response)) == (401, "invalid_api_key")
    assert line()["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/v1/size", "/v1/wait"])
def test_a_chunked_body_that_is_too_large_is_413_through_the_pump(http, line, path):
    response = http.post(path, content=(b"x" * 10_000 for _ in range(50)))
    assert (response.status_code, code(response)) == (413, "body_too_large")
    assert line()["status"] == 413
    assert http.post("/v1/size", content=b"x").json() == 1


def test_a_key_is_asked_for_before_a_body_is_read(address):
    with closing(socket.create_connection(address, timeout=5)) as connection:
        head = "POST /v1/size HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_late_request_is_504_with_an_id(http, line):
    response = http.post("/v1/wait", json={}, headers={"X-Request-Timeout": "0.02"})
    assert (response.status_code, code(response)) == (504, "deadline_exceeded")
    assert (line()["status"], line()["request_id"]) == (504, response.headers["X-Request-ID"])


def test_a_client_that_hangs_up_is_logged_as_499(address, line):
    with closing(socket.create_connection(address, timeout=5)) as connection:
        head = "POST /v1/wait HTTP/1.1\r\nHost: a\r\nX-API-Key: good-key\r\nContent-Length: 2\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{{}}".encode())
        time.sleep(0.05)
    assert (line()["status"], line()["bytes_out"]) == (499, 0)


def test_a_bug_is_500_with_an_id_and_without_its_text(http, line):
    response = http.get("/v1/bug")
    assert (response.status_code, code(response)) == (500, "internal_error")
    assert (line()["status"], line()["request_id"]) == (500, response.headers["X-Request-ID"])


def test_too_many_requests_are_429(http):
    statuses = [http.post("/v1/size", content=b"x").status_code for _ in range(31)]
    assert statuses[-1] == 429
    assert set(statuses) == {200, 429}
