"""The body limit: whatever a request says about its size, no more than that is read."""

import socket
from contextlib import closing

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from app.api.middleware.body_limit import BodyLimit
from tests.app import asgi, patient
from tests.app.asgi import client, serving

LIMIT = 1000


async def size(request):
    return PlainTextResponse(str(len(await request.body())))


async def ignore(request):
    return PlainTextResponse("I do not read")


async def echo(request):
    return StreamingResponse(request.stream())


async def swallow(request):
    """Stand for handlers that take every error for a bad body."""
    try:
        await request.body()
    except Exception:  # broad on purpose: the limit must hold even where a handler hides its error
        return PlainTextResponse("bad body", 400)


ROUTES = [
    Route(f"{prefix}/{f.__name__}", f, methods=["GET", "POST"])
    for prefix in ("/v1", "/ui")
    for f in (size, ignore, echo, swallow)
]
APP = BodyLimit(Starlette(routes=ROUTES), LIMIT)


async def chunks(total, step=100):
    for _ in range(total // step):
        yield b"x" * step


def assert_refused(response):
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"
    assert str(LIMIT) in response.json()["error"]["message"]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/size", "/v1/swallow", "/v1/ignore", "/v1/none"])
async def test_a_length_above_the_limit_is_refused_unread(path):
    scope = asgi.http_scope(path=path, headers=[("Content-Length", str(LIMIT + 1))])
    sent = []

    async def send(message):
        sent.append(message)

    await APP(scope, None, send)  # there is no receive to call
    assert sent[0]["status"] == 413


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/size", "/v1/swallow"])
async def test_a_body_without_a_length_is_refused_where_it_gets_too_large(path):
    request = asgi.Request(APP, path=path)
    for _ in range(20):
        request.body(b"x" * 100, more=True)
    await request.task
    assert request.status == 413
    assert request.read == 11


@pytest.mark.anyio
async def test_a_length_that_lies_is_found_out():
    request = asgi.Request(APP, path="/v1/size", headers=[("Content-Length", "5")])
    request.body(b"x" * (LIMIT + 1))
    await request.task
    assert request.status == 413


@pytest.mark.anyio
async def test_fastapi_does_not_turn_the_refusal_into_a_bad_request():
    api = FastAPI()

    @api.post("/v1/json")
    async def read(body: dict[str, str]):
        return body

    async with client(BodyLimit(api, LIMIT)) as http:
        assert_refused(await http.post("/v1/json", content=chunks(2000)))
        assert (await http.post("/v1/json", content=b"{")).status_code == 422
        assert (await http.post("/v1/json", json={"a": "b"})).json() == {"a": "b"}


@pytest.mark.anyio
async def test_a_form_is_limited_as_well():
    api = FastAPI()

    @api.post("/v1/form")
    async def read(request: Request):
        return list(await request.form())

    async with client(BodyLimit(api, LIMIT)) as http:
        assert_refused(await http.post("/v1/form", files={"image": b"x" * LIMIT}))


@pytest.mark.anyio
@pytest.mark.parametrize("length", [0, 1, LIMIT])
async def test_a_body_up_to_the_limit_passes(length):
    async with client(APP) as http:
        assert (await http.post("/v1/size", content=b"x" * length)).text == str(length)


@pytest.mark.anyio
async def test_other_paths_have_no_limit():
    async with client(APP) as http:
        assert (await http.post("/ui/size", content=b"x" * 2000)).text == "2000"


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["//v1/size", "/V1/size"])
async def test_no_spelling_of_a_path_evades_the_limit(path):
    request = asgi.Request(APP, path=path, headers=[("Content-Length", "2000")])
    await request.task
    assert request.status == 413


@pytest.mark.anyio
async def test_an_answer_that_has_started_is_broken_off():
    async def answers_first(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await receive()

    request = asgi.Request(BodyLimit(answers_first, LIMIT))
    request.body(b"x" * 2000)
    with pytest.raises(Exception, match="request body is too large"):
        await request.task
    assert [message["type"] for message in request.sent] == ["http.response.start"]


@pytest.mark.anyio
async def test_an_error_of_the_app_is_no_refusal():
    async def broken(scope, receive, send):
        await receive()
        raise RuntimeError("a bug")

    request = asgi.Request(BodyLimit(broken, LIMIT))
    request.body(b"x" * 10)
    with pytest.raises(RuntimeError, match="a bug"):
        await request.task


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["-1", "+5", "1e9", "\u00b2", "", "5, 5"])
async def test_a_length_that_is_no_number_is_left_to_counting(value):
    request = asgi.Request(APP, path="/v1/size", headers=[("Content-Length", value)])
    request.body(b"x" * 10)
    await request.task
    assert request.status == 200


@pytest.fixture(scope="module")
def address():
    with serving(APP) as address:
        yield address


def pieces(total):
    for _ in range(total // 50_000):
        yield b"x" * 50_000


@pytest.mark.parametrize("body", [b"x" * 3_000_000, 3_000_000], ids=["with a length", "chunked"])
def test_a_connection_serves_on_after_the_refusal(address, body):
    with patient.Client(base_url=f"http://{address[0]}:{address[1]}", trust_env=False) as http:
        for _ in range(3):
            content = body if isinstance(body, bytes) else pieces(body)
            assert_refused(http.post("/v1/size", content=content))
            assert http.post("/v1/size", content=b"12345").text == "5"


def test_the_answer_comes_before_the_body_has_been_sent(address):
    with closing(socket.create_connection(address, timeout=5)) as connection:
        connection.sendall(b"POST /v1/size HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_asks_first_is_told_no_and_the_connection_closes(address):
    with closing(socket.create_connection(address, timeout=5)) as connection:
        connection.sendall(
            b"POST /v1/size HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n"
        )
        received = b""
        while part := connection.recv(4096):
            received += part
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in received.lower()


def test_a_body_after_the_refusal_is_not_taken_for_a_request(address):
    hidden = b"GET /v1/ignore HTTP/1.1\r\nHost: a\r\n\r\n"
    with closing(socket.create_connection(address, timeout=5)) as connection:
        body = hidden + b"x" * 2000
        connection.sendall(
            b"POST /v1/size HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        connection.sendall(b"GET /v1/size HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while part := connection.recv(4096):
            received += part
    assert received.count(b"HTTP/1.1 ") == 2
    assert b"I do not read" not in received
