"""A server that is closed to strangers, attacked through every door."""

import json
import os
import shutil
import time

import httpx
import psutil
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError, AuthenticationError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.app import patient
from tests.app.asgi import serving
from tests.app.gallery_requests import CAT_URI
from tests.app.processes import running

SCRIPT = "tests/app/faulty_server.py"
KEY = "a-key-of-sixteen-or-more"
PROXY = "127.0.0.2"  # that a server trusts
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    env = os.environ | {"SIGLIP_API_KEYS": f"{KEY},another-key-for-another", "SIGLIP_AUTH": "anna:geheim"}
    folder = tmp_path_factory.mktemp("closed")
    options = ("--max-body-mb", "0.5", "--cors-origins", "https://example.org", "--max-texts", "10")
    with running(folder, *options, script=SCRIPT, env=env) as process:
        yield process


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/embeddings", "/metrics", "//v1/models", "/v1/../v1/models"]
)
def test_rest_needs_a_key(closed, path):
    assert patient.get(closed.address + path).status_code in (401, 404, 405)
    refused = patient.post(f"{closed.address}/v1/embeddings", json={"input": "red"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    for headers in ({"Authorization": f"Bearer {KEY}x"}, {"Authorization": "Bearer"}, {"X-API-Key": "?"}):
        assert patient.get(f"{closed.address}/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize("headers", [AUTHORIZED, {"X-API-Key": "another-key-for-another"}])
def test_each_key_opens_rest_and_health_needs_none(closed, headers):
    answer = patient.post(f"{closed.address}/v1/embeddings", json={"input": "red"}, headers=headers)
    assert answer.status_code == 200
    assert patient.get(f"{closed.address}/metrics", headers=headers).status_code == 200
    assert patient.get(f"{closed.address}/healthz").status_code == 200
    assert patient.get(f"{closed.address}/readyz").status_code in (200, 503)


@pytest.mark.anyio
async def test_an_mcp_tool_answers_who_has_a_key_though_the_page_has_a_password(closed):
    async with (
        httpx.AsyncClient(headers=AUTHORIZED, timeout=60) as http,
        streamable_http_client(f"{closed.address}/gradio_api/mcp/", http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        answer = await session.call_tool("embed_text", {"texts": "red"})  # the rest is optional
        assert not answer.isError
        assert json.loads(answer.content[0].text)["embeddings"] == [[1, 0, 0]]


def test_events_of_the_page_take_no_large_bodies(closed):
    client = patient.Client()
    client.post(f"{closed.address}/login", data={"username": "anna", "password": "geheim"})
    answer = client.post(f"{closed.address}/gradio_api/call/embed_text", json={"data": ["x" * 5_000_000]})
    client.close()
    assert answer.status_code == 413


def test_mcp_needs_a_key(closed):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    for path in ("/gradio_api/mcp", "/gradio_api/mcp/", "/gradio_api/mcp/http"):
        answer = patient.post(closed.address + path, json=body, headers=accept)
        assert answer.status_code == 401


def test_the_page_and_its_endpoints_need_user_and_password(closed):
    with pytest.raises(AuthenticationError):
        Client(closed.address, verbose=False)
    client = Client(closed.address, auth=("anna", "geheim"), verbose=False)
    assert client.predict(api_name="/list_models")["models"][0]["id"] == "colours"
    client.close()
    direct = patient.post(f"{closed.address}/gradio_api/call/list_models", json={"data": []})
    assert direct.status_code == 401


def test_large_bodies_and_long_lists_are_refused(closed):
    url = f"{closed.address}/v1/embeddings"
    answer = patient.post(url, json={"input": "x" * 600_000}, headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    answer = patient.post(url, json={"input": ["x"] * 11}, headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_items")
    for path, image in (("classify", {"images": [CAT_URI]}), ("compare", {"image": CAT_URI})):
        labels = {"labels": [f"label {number}" for number in range(11)]}
        answer = patient.post(f"{closed.address}/v1/{path}", json=image | labels, headers=AUTHORIZED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_items")
        assert answer.json()["error"]["param"] == "labels"


def test_only_named_origins_may_call_from_a_browser(closed):
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in (("https://example.org", True), ("https://evil.example", False)):
        answer = httpx.options(f"{closed.address}/v1/classify", headers={"Origin": origin, **ask})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../etc/passwd",
        "/gradio_api/file=app.py",
        "/gradio_api/file=.env",
        "/static/../../../etc/passwd",
    ],
)
def test_no_file_of_the_server_can_be_read(closed, path):
    client = patient.Client()
    login = client.post(f"{closed.address}/login", data={"username": "anna", "password": "geheim"})
    assert login.status_code == 200
    answer = client.get(closed.address + path)
    client.close()
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def test_secrets_never_reach_the_log_and_each_request_is_a_line_of_json(closed):
    patient.get(f"{closed.address}/v1/models?api_key={KEY}", headers=AUTHORIZED)
    while '"path": "/v1/models", "client"' not in (text := closed.log.read_text()):
        time.sleep(0.01)  # the line is written after the answer
    assert KEY not in text
    assert "geheim" not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    for line in lines:
        assert {"request_id", "method", "path", "status", "ms", "client"} <= set(line)


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    options = ("--requests-per-minute", "4", "--trusted-proxies", PROXY, "--allow-urls", "true")
    with running(tmp_path_factory.mktemp("limited"), *options, script=SCRIPT) as process:
        yield process


def client_at(address, server):
    """Return a client with an address of its own, whose requests are counted by themselves."""
    transport = httpx.HTTPTransport(local_address=address)
    return patient.Client(transport=transport, base_url=server.address, trust_env=False)


def test_the_rate_limit_names_the_time_to_wait(limited):
    with client_at("127.0.0.4", limited) as client:
        answers = [client.post("/v1/embeddings", json={"input": "red"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    assert 1 <= int(answers[4].headers["Retry-After"]) <= 60


def test_urls_are_fetched_only_from_public_addresses_even_where_they_are_allowed(limited):
    urls = ("http://127.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", limited.address)
    with client_at("127.0.0.5", limited) as client:
        for url in urls:
            answer = client.post("/v1/embeddings", json={"input": {"image": url}})
            assert answer.status_code == 422
            assert "public" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SIGLIP_API_KEYS", "short", "16 printable"),
        ("SIGLIP_AUTH", "anna", "user:password"),
        ("SIGLIP_MAX_BODY_MB", "inf", "finite number"),
        ("SIGLIP_TEXT_CACHE", "/proc/nowhere/texts.sqlite", "Cannot keep text embeddings"),
    ],
)
def test_settings_that_would_leave_the_server_open_or_broken_are_refused(tmp_path, name, value, sentence):
    with (
        pytest.raises(AssertionError, match=sentence) as caught,
        running(tmp_path, script=SCRIPT, env=os.environ | {name: value}),
    ):
        pass
    if name in ("SIGLIP_API_KEYS", "SIGLIP_AUTH"):
        assert value not in str(caught.value).partition("input_value")[0]


@pytest.mark.skipif(shutil.which("node") is None, reason="server-side rendering needs node")
def test_every_door_works_with_server_side_rendering_and_nothing_is_left_running(tmp_path):
    with running(tmp_path, script=SCRIPT, env=os.environ | {"GRADIO_SSR_MODE": "True"}) as process:
        assert patient.get(process.address).status_code == 200
        assert patient.post(f"{process.address}/v1/embeddings", json={"input": "red"}).status_code == 200
        client = Client(process.address, verbose=False)
        assert client.predict(api_name="/list_models")["models"][0]["id"] == "colours"
        client.close()
        children = psutil.Process(process.process.pid).children(recursive=True)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def prefix_proxy(upstream):
    """Serve what is below /siglip from another server, as a proxy that strips the prefix does."""

    async def forward(request: Request):
        path = request.url.path.removeprefix("/siglip") or "/"
        sent = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
        async with httpx.AsyncClient(base_url=upstream, timeout=60) as client:
            answer = await client.request(
                request.method, path, params=request.query_params, headers=sent, content=await request.body()
            )
        hop_by_hop = ("content-encoding", "content-length", "transfer-encoding")
        kept = {k: v for k, v in answer.headers.items() if k not in hop_by_hop}
        return Response(answer.content, answer.status_code, kept)

    return Starlette(routes=[Route("/siglip{path:path}", forward, methods=["GET", "POST"])])


def test_it_works_behind_a_proxy_that_serves_it_under_a_path(tmp_path):
    with (
        running(tmp_path, "--root-path", "/siglip", script=SCRIPT) as process,
        serving(prefix_proxy(process.address)) as (host, port),
    ):
        proxy = f"http://{host}:{port}"
        page = patient.get(f"{proxy}/siglip/")
        assert page.status_code == 200
        assert '"root":"' in page.text.replace(" ", "")
        assert "/siglip" in patient.get(f"{proxy}/siglip/config").json()["root"]
        assert patient.get(f"{proxy}/siglip/readyz").status_code in (200, 503)
        assert patient.post(f"{proxy}/siglip/v1/embeddings", json={"input": "red"}).status_code == 200
        client = Client(f"{proxy}/siglip/", verbose=False)
        assert client.predict(api_name="/list_models")["models"][0]["id"] == "colours"
        with pytest.raises(AppError, match="The text is empty"):
            client.predict(texts="", model="", engine="", api_name="/embed_text")
        client.close()


@pytest.mark.parametrize(
    ("address", "statuses"), [(PROXY, [200] * 6), ("127.0.0.3", [200, 200, 200, 200, 429, 429])]
)
def test_the_visitors_of_a_trusted_proxy_are_counted_one_by_one(limited, address, statuses):
    with client_at(address, limited) as proxy:
        answers = [
            proxy.get("/v1/index", headers={"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(6)
        ]
    assert [answer.status_code for answer in answers] == statuses
