"""A request's scope: late handlers are cancelled and answered for, and so are those without a client."""

import asyncio
import threading

import anyio
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from app.api.middleware.scope import RequestScope
from tests.app.asgi import Request, client, settle

pytestmark = pytest.mark.anyio


class Handler:
    """An app that waits until it is released or cancelled, and keeps count."""

    def __init__(self):
        self.entered, self.release = asyncio.Event(), asyncio.Event()
        self.cancelled = False

    async def __call__(self, scope, receive, send):
        self.entered.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        await PlainTextResponse("done")(scope, receive, send)


async def echo(request):
    return PlainTextResponse(await request.body())


ECHO = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])


async def test_a_handler_in_time_is_not_disturbed():
    async with client(RequestScope(ECHO, 5)) as http:
        response = await http.post("/v1/embeddings", content=b"x" * 100_000)
    assert (response.status_code, response.text) == (200, "x" * 100_000)


async def test_a_late_handler_is_cancelled_and_answered_for():
    handler = Handler()
    async with client(RequestScope(handler, 0.02)) as http:
        response = await http.post("/v1/embeddings", content=b"123")
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert handler.cancelled


async def test_the_client_may_ask_for_less_time_but_not_for_more():
    async with client(RequestScope(Handler(), 60)) as http:
        late = await http.get("/v1/x", headers={"X-Request-Timeout": "0.02"})
        assert "0.02 s" in late.json()["error"]["message"]
    async with client(RequestScope(Handler(), 0.02)) as http:
        assert (await http.get("/v1/x", headers={"X-Request-Timeout": "999"})).status_code == 504


@pytest.mark.parametrize("given", ["1", "2.5", "10.", "0.900", "007"])
async def test_a_number_of_seconds_is_taken(given):
    async with client(RequestScope(ECHO, 5)) as http:
        assert (await http.get("/v1/x", headers={"X-Request-Timeout": given})).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "",
        "0",
        "0.0",
        "-1",
        "+1",
        "nan",
        "inf",
        "1e3",
        "1_0",
        "1s",
        "soon",
        "1,5",
        ".",
        "0x1",
        "9" * 400,
        b"\xb2",
    ],
)
async def test_what_is_no_number_of_seconds_is_refused(given):
    async with client(RequestScope(ECHO, 5)) as http:
        response = await http.get("/v1/x", headers={"X-Request-Timeout": given})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_timeout"


async def test_a_header_that_comes_twice_is_refused():
    async with client(RequestScope(ECHO, 5)) as http:
        twice = [("X-Request-Timeout", "1"), ("X-Request-Timeout", "2")]
        assert (await http.get("/v1/x", headers=twice)).status_code == 400


async def test_zero_seconds_by_default_are_no_limit():
    handler = Handler()
    request = Request(RequestScope(handler, 0))
    await handler.entered.wait()
    await settle()
    handler.release.set()
    await request.task
    assert request.status == 200


async def test_other_paths_have_all_the_time():
    handler = Handler()
    request = Request(RequestScope(handler, 0.001), path="/ui")
    await asyncio.sleep(0.02)
    handler.release.set()
    await request.task
    assert request.status == 200


async def test_a_response_that_has_started_is_not_cut_by_the_deadline():
    async def parts():
        yield "one "
        await asyncio.sleep(0.05)
        yield "two"

    async def stream(request):
        return StreamingResponse(parts())

    async with client(RequestScope(Starlette(routes=[Route("/v1/x", stream)]), 0.02)) as http:
        response = await http.get("/v1/x")
    assert (response.status_code, response.text) == (200, "one two")


async def test_an_answer_that_comes_with_the_cancellation_is_dropped():
    async def stubborn(scope, receive, send):
        try:
            await asyncio.sleep(60)
        finally:
            await PlainTextResponse("too late")(scope, receive, send)

    request = Request(RequestScope(stubborn, 0.01))
    await request.task
    assert [message.get("status") for message in request.sent] == [504, None]
    assert b"too late" not in request.sent[1]["body"]


async def test_the_answer_does_not_wait_for_a_thread_that_cannot_be_cancelled():
    release = threading.Event()

    async def in_a_thread(scope, receive, send):
        await anyio.to_thread.run_sync(release.wait, 10)

    request = Request(RequestScope(in_a_thread, 0.02))
    while len(request.sent) < 2:
        await asyncio.sleep(0.001)
    assert request.status == 504
    assert not request.task.done()
    release.set()
    await request.task


async def test_a_body_that_never_ends_falls_under_the_deadline():
    request = Request(RequestScope(ECHO, 0.03))
    request.body(b"x", more=True)
    await request.task
    assert request.status == 504


async def test_a_client_that_leaves_cancels_a_handler_that_does_not_look():
    handler = Handler()
    request = Request(RequestScope(handler, 60))
    request.body()
    await handler.entered.wait()
    request.leave()
    await request.task
    assert handler.cancelled
    assert request.sent == []


async def test_a_client_that_leaves_in_the_middle_of_its_body_cancels_the_handler():
    request = Request(RequestScope(ECHO, 60))
    request.body(b"x", more=True)
    request.leave()
    await request.task
    assert request.sent == []


async def test_a_client_that_leaves_ends_a_stream():
    async def endless():
        while True:
            yield "x"
            await asyncio.sleep(0.001)

    async def stream(request):
        return StreamingResponse(endless())

    request = Request(
        RequestScope(Starlette(routes=[Route("/v1/x", stream)]), 60), path="/v1/x", method="GET"
    )
    request.body()
    while len(request.sent) < 3:
        await asyncio.sleep(0.001)
    request.leave()
    await request.task


async def test_work_after_the_response_goes_on_when_the_client_leaves():
    release, done = asyncio.Event(), []

    async def work():
        await release.wait()
        done.append(1)

    async def answer(request):
        return PlainTextResponse("ok", background=BackgroundTask(work))

    request = Request(
        RequestScope(Starlette(routes=[Route("/v1/x", answer)]), 0.02), path="/v1/x", method="GET"
    )
    request.body()
    request.leave()  # as servers report the end of a response
    while len(request.sent) < 2:
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    release.set()
    await request.task
    assert done == [1]
    assert request.status == 200


async def test_no_more_than_one_message_is_read_ahead():
    taken = asyncio.Queue()

    async def reads_when_told(scope, receive, send):
        for _ in range(3):
            await taken.get()
            await receive()
        await taken.get()

    request = Request(RequestScope(reads_when_told, 60))
    for _ in range(10):
        request.body(b"x" * 1000, more=True)
    for expected in (1, 2, 3, 4):
        await settle()
        assert request.read == expected
        taken.put_nowait(1)
    await request.task


async def test_a_body_in_many_messages_arrives_in_order_and_whole():
    request = Request(RequestScope(ECHO, 60))
    for number in range(100):
        request.body(b"%d " % number, more=number < 99)
    await request.task
    assert request.sent[1]["body"] == b"".join(b"%d " % number for number in range(100))


async def test_after_its_body_the_app_hears_of_the_disconnect():
    heard = []

    async def answers_then_listens(scope, receive, send):
        heard.append((await receive())["type"])
        await PlainTextResponse("ok")(scope, receive, send)
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    request = Request(RequestScope(answers_then_listens, 60))
    request.body(b"x")
    await settle()
    request.leave()
    await request.task
    assert heard == ["http.request", "http.disconnect", "http.disconnect"]


async def test_starlette_can_still_ask_whether_the_client_has_left():
    answers = []

    async def ask(request):
        body = await request.body()
        answers.append(await request.is_disconnected())
        return PlainTextResponse(body)

    app = Starlette(routes=[Route("/v1/x", ask, methods=["POST"])])
    async with client(RequestScope(app, 60)) as http:
        assert (await http.post("/v1/x", content=b"body")).text == "body"
    assert answers == [False]


async def test_an_error_of_the_app_leaves_as_itself():
    async def broken(scope, receive, send):
        await receive()
        raise RuntimeError("a bug")

    request = Request(RequestScope(broken, 60))
    request.body()
    with pytest.raises(RuntimeError, match="a bug"):
        await request.task


async def test_an_error_while_reading_reaches_the_reader():
    async def receive():
        raise OSError("the body is broken")

    caught = []

    async def reads(scope, receive, send):
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                await receive()
            caught.append(1)

    await RequestScope(reads, 60)({"type": "http", "path": "/v1/x", "headers": []}, receive, None)
    assert caught == [1, 1]


async def test_the_servers_cancellation_passes_through():
    handler = Handler()
    request = Request(RequestScope(handler, 60))
    request.body()
    await handler.entered.wait()
    request.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request.task
    assert request.task.cancelled()
    assert handler.cancelled
    assert request.sent == []


async def test_the_servers_cancellation_passes_through_even_as_the_client_leaves():
    handler = Handler()
    request = Request(RequestScope(handler, 60))
    request.body()
    await handler.entered.wait()
    request.leave()
    await asyncio.sleep(0)
    request.task.cancel()
    await asyncio.wait([request.task])
    assert handler.cancelled


async def test_a_timeout_of_the_handlers_own_is_not_the_deadline():
    async def waits(scope, receive, send):
        with anyio.move_on_after(0.001):
            await asyncio.sleep(60)
        await PlainTextResponse("ok")(scope, receive, send)

    request = Request(RequestScope(waits, 60))
    await request.task
    assert request.status == 200


async def test_no_task_is_left_behind():
    before = asyncio.all_tasks()
    async with client(RequestScope(ECHO, 60)) as http:
        await http.post("/v1/x", content=b"x")
    async with client(RequestScope(Handler(), 0.01)) as http:
        await http.post("/v1/x", content=b"x")
    await settle()
    assert asyncio.all_tasks() == before


async def test_what_is_not_http_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        await RequestScope(app, 1)({"type": kind, "path": "/v1/x", "headers": []}, None, None)
    assert seen == ["lifespan", "websocket"]
