"""API keys: guarded paths need one, however the path or the header is written."""

import hmac
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.api.middleware.api_keys import ApiKeys, client_key
from tests.app.asgi import client

pytestmark = pytest.mark.anyio

KEYS = ("first-key", "second-key")


async def name(request):
    return PlainTextResponse(client_key(request.scope))


ANY = Starlette(routes=[Route("/{path:path}", name, methods=["GET", "POST", "OPTIONS", "DELETE"])])
APP = ApiKeys(ANY, KEYS)


async def get(path="/v1/models", app=APP, **options):
    headers = options.pop("headers", {})
    async with client(app, **options) as http:
        return await http.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/gradio_api/mcp/sse"])
async def test_without_keys_everybody_may_call(path):
    assert (await get(path, ApiKeys(ANY, ()))).status_code == 200


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", "Bearer {}"),
        ("authorization", "bearer {}"),
        ("Authorization", "Bearer   {} "),
        ("X-API-Key", "{}"),
        ("x-api-key", " {} "),
    ],
)
async def test_each_key_opens_in_either_header(key, header, value):
    assert (await get(headers={header: value.format(key)})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "first-key"},
        {"Authorization": "Basic first-key"},
        {"Authorization": "Bearer first-key second-key"},
        {"Authorization": "Bearer first-key,"},
        {"Authorization": "Bearer first-ke"},
        {"Authorization": "Bearer first-keyx"},
        {"Authorization": "Bearer FIRST-KEY"},
        {"Authorization": b"Bearer first-key\xe9"},
        {"X-API-Key": ""},
        {"X-API-Key": "Bearer first-key"},
        {"X-API-Key": b"\xff\xfe"},
        {"Cookie": "X-API-Key=first-key"},
    ],
)
async def test_everything_else_is_refused(headers):
    response = await get(headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert "first-key" not in response.text


async def test_a_key_in_the_query_does_not_count():
    assert (await get("/v1/models?api_key=first-key")).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        *("/v1", "/v1/", "/v1/models", "//v1/models", "/v1//models", "/./v1/models", "/x/../v1/models"),
        *("/V1/models", "/%76%31/models", "/%2576%2531/models", "/v1%2Fmodels", "/v1/../v1/models"),
        *(
            "/v1/../ui",
            "/\\v1\\models",
            "/v1;x/../v1/models",
            "/metrics",
            "/metrics/",
            "/Metrics",
            "/metrics/x",
        ),
        *("/gradio_api/mcp", "/gradio_api/mcp/", "/gradio_api/mcp/sse", "/gradio_api//mcp"),
    ],
)
async def test_no_spelling_of_a_guarded_path_evades_the_guard(path):
    status = []

    async def send(message):
        status.append(message.get("status"))

    # By hand: httpx would tidy the path up. Servers decode percent signs once, which is what unquote is for.
    scope = {"type": "http", "method": "GET", "path": unquote(path), "root_path": "", "headers": []}
    await APP(scope, None, send)
    assert status[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v10/models",
        "/v1x",
        "/metricsx",
        "/gradio_api/mcpx",
        "/gradio_api/call/x",
        "/ui/v1/",
        "/healthz",
    ],
)
async def test_other_paths_are_open(path):
    assert (await get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_open_even_if_everything_is_guarded(path):
    app = ApiKeys(ANY, KEYS, prefixes=["/"])
    assert (await get(path, app)).status_code == 200
    assert (await get(path + "/x", app)).status_code == 401
    assert (await get("/", app)).status_code == 401


async def test_the_guard_sees_the_path_without_the_root_path():
    assert (await get("/proxy/v1/models", root_path="/proxy")).status_code == 401
    assert (await get("/proxy/healthz", ApiKeys(ANY, KEYS, ["/"]), root_path="/proxy")).status_code == 200
    assert (await get("/v1/models", root_path="/proxy")).status_code == 401


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE", "HEAD", "TRACE"])
async def test_every_method_is_guarded(method):
    async with client(APP) as http:
        assert (await http.request(method, "/v1/models")).status_code == 401


async def test_every_known_key_is_compared_whichever_matches(monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or real(a, b))
    await get(headers={"Authorization": "Bearer first-key"})
    # Two keys with each of the two headers, of which one is empty; lengths do not depend on the key's.
    assert compared == [(32, 32)] * 4


async def test_a_websocket_is_guarded_too():
    sent = []

    async def send(message):
        sent.append(message)

    await APP({"type": "websocket", "path": "/v1/stream", "headers": []}, None, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_lifespan_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await ApiKeys(app, KEYS)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


@pytest.mark.parametrize("key", ["", " ", "two words", "trailing ", "new\nline", "schl\u00fcssel"])
def test_a_key_that_no_header_can_carry_is_the_operators_mistake(key):
    with pytest.raises(ValueError, match="one word of printable ASCII"):
        ApiKeys(ANY, ["good", key])


async def test_a_client_is_named_by_its_key_without_showing_it():
    names = [(await get(headers={"X-API-Key": key}, address=host)).text for key in KEYS for host in "ab"]
    assert names[0] == names[1] != names[2] == names[3]
    assert all(name.startswith("key:") and "first" not in name for name in names)


async def test_a_wrong_key_on_an_open_path_gives_no_name():
    assert (await get("/ui", headers={"X-API-Key": "guess"})).text == "address:203.0.113.7"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("203.0.113.7", "address:203.0.113.7"),
        ("::ffff:203.0.113.7", "address:203.0.113.7"),
        ("2001:db8:1:2::3", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "address:2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("testclient", "address:testclient"),
    ],
)
def test_a_client_without_a_key_is_named_by_its_address(host, name):
    assert client_key({"client": (host, 1)}) == name


@pytest.mark.parametrize("scope", [{}, {"client": None}, {"state": {}}])
def test_clients_without_an_address_share_a_name(scope):
    assert client_key(scope) == "address:unknown"
