"""A request's scope behind a real server: clients that hang up, connections that outlive a deadline."""

import asyncio
import socket
import threading
import time
from contextlib import closing

import pytest
from fastapi import FastAPI

from app.api.middleware.scope import RequestScope
from tests.app import patient
from tests.app.asgi import serving


class Live:
    """A real server whose one handler says when it has been entered and cancelled."""

    def __init__(self):
        self.entered, self.cancelled = threading.Event(), threading.Event()
        api = FastAPI()

        @api.post("/v1/wait")
        async def wait(body: dict[str, str]):
            self.entered.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        @api.get("/v1/ok")
        async def ok():
            return "ok"

        self.app = RequestScope(api, 60)


@pytest.fixture(scope="module")
def live():
    live = Live()
    with serving(live.app) as address:
        live.address = address
        yield live


def test_a_real_client_that_hangs_up_cancels_a_real_handler(live):
    live.entered.clear(), live.cancelled.clear()
    with closing(socket.create_connection(live.address, timeout=5)) as connection:
        head = (
            "POST /v1/wait HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        )
        connection.sendall(head.encode() + b"{}")
        assert live.entered.wait(5)
        assert not live.cancelled.is_set()
    assert live.cancelled.wait(5)


def test_a_real_connection_serves_on_after_the_deadline(live):
    url = f"http://{live.address[0]}:{live.address[1]}"
    live.cancelled.clear()
    with patient.Client(base_url=url, trust_env=False) as http:
        start_s = time.monotonic()
        for _ in range(3):
            late = http.post("/v1/wait", json={}, headers={"X-Request-Timeout": "0.05"})
            assert late.status_code == 504
            assert http.get("/v1/ok").json() == "ok"
        assert time.monotonic() - start_s < 5
    assert live.cancelled.wait(5)
