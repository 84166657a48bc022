"""The access log: every request has an id and one line, which holds no secret."""

import asyncio
import json
import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from app.api.middleware.access_log import AccessLog
from tests.app.asgi import Request, client, settle

pytestmark = pytest.mark.anyio


async def echo(request):
    return PlainTextResponse(await request.body(), 201)


async def show_id(request):
    return PlainTextResponse(request.state.request_id)


async def fail(request):
    raise RuntimeError("a secret in the traceback")


async def fail_late(request):
    async def parts():
        yield b"half"
        raise RuntimeError("too late for a status")

    return StreamingResponse(parts())


ROUTES = [Route(f"/{f.__name__}", f, methods=["GET", "POST"]) for f in (echo, show_id, fail, fail_late)]
APP = AccessLog(Starlette(routes=[*ROUTES, Mount("/sub", routes=ROUTES)]))


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="siglip.access")
    return lambda: [json.loads(r.getMessage()) for r in caplog.records if r.name == "siglip.access"]


async def test_a_request_is_one_line(lines):
    async with client(APP) as http:
        response = await http.post("/sub/echo", content=b"12345")
    (line,) = lines()
    assert line.pop("ms") >= 0
    assert line.pop("time").endswith("+00:00")
    assert line.pop("request_id") == response.headers["X-Request-ID"]
    assert line == {
        "method": "POST",
        "path": "/sub/echo",
        "client": "203.0.113.7",
        "status": 201,
        "bytes_in": 5,
        "bytes_out": 5,
    }


async def test_no_secret_is_logged(lines, caplog):
    secret = {"Authorization": "Bearer s3cret", "X-API-Key": "s3cret", "Cookie": "a=s3cret"}
    async with client(APP) as http:
        await http.post("/echo?key=s3cret", headers=secret, content=b"s3cret")
    assert len(lines()) == 1
    assert "s3cret" not in "".join(r.getMessage() for r in caplog.records if r.name == "siglip.access")


async def test_a_path_cannot_forge_a_line(lines, caplog):
    async with client(APP) as http:
        await http.get('/a%0A{"status": 200}%0D%E2%80%A8')
    (record,) = [r for r in caplog.records if r.name == "siglip.access"]
    assert len(record.getMessage().splitlines()) == 1
    assert lines()[0]["path"] == '/a\n{"status": 200}\r\u2028'


@pytest.mark.parametrize("given", ["abc", "A-b_c.9", "x" * 64])
async def test_a_sane_id_is_kept_and_handed_on(given):
    async with client(APP) as http:
        response = await http.get("/show_id", headers={"X-Request-ID": given})
    assert response.text == response.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", 'a"b', "a\u00e9", "<script>", "a,b"])
async def test_another_id_is_replaced(given):
    async with client(APP) as http:
        response = await http.get("/show_id", headers={"X-Request-ID": given.encode("latin-1")})
    assert len(response.text) == 32
    assert response.text == response.headers["X-Request-ID"]
    assert response.text.isalnum()


async def test_ids_are_fresh():
    async with client(APP) as http:
        assert (await http.get("/show_id")).text != (await http.get("/show_id")).text


async def test_a_request_that_raises_is_logged_and_answered_with_its_id(lines):
    async def broken(scope, receive, send):
        raise RuntimeError("a secret in the traceback")

    async with client(AccessLog(broken)) as http:
        response = await http.get("/fail")
    (line,) = lines()
    assert (line["status"], response.status_code) == (500, 500)
    assert response.json()["error"]["code"] == "internal_error"
    assert response.headers["X-Request-ID"] == line["request_id"]
    assert "secret" not in response.text


async def test_the_error_goes_on_to_the_server(lines):
    async with client(APP, raises=True) as http:
        with pytest.raises(RuntimeError, match="secret"):
            await http.get("/fail")
    assert lines()[0]["status"] == 500


async def test_an_answer_that_breaks_off_is_logged_as_failed(lines):
    async with client(APP) as http:
        await http.get("/fail_late")
    assert (lines()[0]["status"], lines()[0]["bytes_out"]) == (500, 4)


async def test_an_app_that_never_answers_has_failed(lines):
    async def mute(scope, receive, send):
        await receive()

    request = Request(AccessLog(mute))
    request.body()
    await request.task
    assert lines()[0]["status"] == 500


async def test_a_client_that_leaves_is_499(lines):
    async def until_it_leaves(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    request = Request(AccessLog(until_it_leaves))
    request.body(b"123")
    request.leave()
    await request.task
    assert (lines()[0]["status"], lines()[0]["bytes_in"]) == (499, 3)
    assert request.sent == []


async def test_a_cancelled_request_is_logged_and_stays_cancelled(lines):
    async def hang(scope, receive, send):
        await asyncio.sleep(60)

    request = Request(AccessLog(hang))
    await settle()
    request.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request.task
    assert lines()[0]["status"] == 499


async def test_what_is_not_http_passes_without_a_line(lines):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    await AccessLog(app)({"type": "lifespan"}, None, None)
    assert scopes == [{"type": "lifespan"}]
    assert lines() == []
