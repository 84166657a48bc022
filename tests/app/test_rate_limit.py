"""The rate limit: so many requests a minute for each client, and true advice when to come back."""

import time

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.api.middleware.api_keys import ApiKeys
from app.api.middleware.rate_limit import RateLimit
from tests.app.asgi import client

pytestmark = pytest.mark.anyio

OK = Starlette(
    routes=[Route("/{path:path}", lambda _: PlainTextResponse("ok"), methods=["GET", "POST", "OPTIONS"])]
)


@pytest.fixture
def clock(monkeypatch):
    """Let the tests set the time that the limiter sees."""

    class Clock:
        now = 1_800_000_000.0

    monkeypatch.setattr(time, "time", lambda: Clock.now)
    return Clock


async def statuses(app, count, path="/v1/embeddings", method="POST", **options):
    headers = options.pop("headers", {})
    async with client(app, **options) as http:
        return [(await http.request(method, path, headers=headers)).status_code for _ in range(count)]


async def test_the_request_after_the_last_is_refused_with_advice(clock):
    app = RateLimit(OK, 2)
    async with client(app) as http:
        assert (await http.get("/v1/models")).status_code == 200
        clock.now += 20.5
        assert (await http.get("/v1/models")).status_code == 200
        clock.now += 10
        refused = await http.get("/v1/models")
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers["Retry-After"] == "30"  # 60 - 30.5, rounded up
        clock.now += 29
        assert (await http.get("/v1/models")).headers["Retry-After"] == "1"
        clock.now += 1
        assert (await http.get("/v1/models")).status_code == 200  # the advice was true
        assert (await http.get("/v1/models")).headers["Retry-After"] == "20"  # the second one's turn


async def test_refused_requests_do_not_prolong_the_wait(clock):
    app = RateLimit(OK, 1)
    assert await statuses(app, 5) == [200, 429, 429, 429, 429]
    clock.now += 60.01
    assert await statuses(app, 1) == [200]


async def test_zero_is_no_limit():
    assert set(await statuses(RateLimit(OK, 0), 50)) == {200}


async def test_each_address_has_its_own_budget():
    app = RateLimit(OK, 1)
    assert await statuses(app, 2, address="203.0.113.1") == [200, 429]
    assert await statuses(app, 2, address="203.0.113.2") == [200, 429]


async def test_neighbours_in_an_ipv6_network_share_one():
    app = RateLimit(OK, 1)
    assert await statuses(app, 1, address="2001:db8::1") == [200]
    assert await statuses(app, 1, address="2001:db8::2") == [429]


async def test_a_forwarded_header_gives_no_new_budget():
    app = RateLimit(OK, 1)
    assert await statuses(app, 1) == [200]
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert await statuses(app, 1, headers={name: "198.51.100.1"}) == [429]


async def test_keys_have_budgets_of_their_own_wherever_they_come_from():
    app = ApiKeys(RateLimit(OK, 1), ["one", "two"])
    assert await statuses(app, 1, headers={"X-API-Key": "one"}, address="203.0.113.1") == [200]
    assert await statuses(app, 1, headers={"X-API-Key": "one"}, address="203.0.113.2") == [429]
    assert await statuses(app, 1, headers={"X-API-Key": "two"}, address="203.0.113.1") == [200]


async def test_a_made_up_key_gives_no_new_budget():
    app = ApiKeys(RateLimit(OK, 1), ["one"])
    path = "/gradio_api/queue/join"  # which needs no key
    assert await statuses(app, 1, path, headers={"X-API-Key": "guess-1"}) == [200]
    assert await statuses(app, 1, path, headers={"X-API-Key": "guess-2"}) == [429]


@pytest.mark.parametrize("path", ["//v1/models", "/V1/models", "/v1"])
async def test_no_spelling_of_a_path_gives_a_new_budget(path):
    app = RateLimit(OK, 1)
    assert await statuses(app, 1) == [200]

    async def send(message):
        sent.append(message.get("status"))

    sent = []
    scope = {"type": "http", "method": "GET", "path": path, "client": ("203.0.113.7", 1), "headers": []}
    await app(scope, None, send)
    assert sent[0] == 429


async def test_in_the_browser_only_posts_count():
    app = RateLimit(OK, 1)
    assert await statuses(app, 5, "/gradio_api/file=cat.png", "GET") == [200] * 5
    assert await statuses(app, 2, "/gradio_api/queue/join", "POST") == [200, 429]
    assert await statuses(app, 5, "/gradio_api/heartbeat/x", "GET") == [200] * 5


@pytest.mark.parametrize("path", ["/", "/healthz", "/assets/index.js", "/v10/x"])
async def test_other_paths_are_not_counted(path):
    assert await statuses(RateLimit(OK, 1), 3, path) == [200] * 3


async def test_clients_of_the_past_are_forgotten():
    app = RateLimit(OK, 5)
    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": []}
    for number in range(5000):
        # What limits' own timer leaves behind of a client whose minute is over.
        app._storage.events[f"old/{number}"] = []
        app._count({**scope, "client": (f"10.0.{number % 7}.1", 1)})
    assert len(app._storage.events) < 1100
    assert sum(map(len, app._storage.events.values())) == 5 * 7  # the present ones keep their counts


async def test_what_is_not_http_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        await RateLimit(app, 1)({"type": kind, "path": "/v1/", "headers": []}, None, None)
    assert seen == ["lifespan", "websocket"]
