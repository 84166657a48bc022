"""One request while its handler runs: a pump that watches the client, and an alarm."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import error_response


class Exchange:
    """Runs an app on one request until it is done, late, or its client has gone.

    The app runs in the caller's own task, so that the server's cancellation reaches it as always; a
    task beside it reads for it. Every request pays for this, so it is a plain task and a timer, which
    are cheaper than a task group. For one request, once.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        """Stand between a server's `receive` and `send` and the app."""
        self._scope, self._receive, self._send = scope, receive, send
        self._work = anyio.CancelScope()  # the app
        self._alarm: asyncio.TimerHandle | None = None  # until the response starts
        self._late_answer: asyncio.Task[None] | None = None
        self._held: Message | Exception | None = None  # read by the pump, not yet taken by the app
        self._changed = asyncio.Event()
        self._gone = self._finished = False

    async def run(self, app: ASGIApp, timeout_s: float) -> None:
        """Call the app; whatever it raises is raised, unless it was cancelled here."""
        loop = asyncio.get_running_loop()
        pump = loop.create_task(self._pump())
        self._alarm = loop.call_later(timeout_s, self._expire, timeout_s)
        try:
            with self._work:
                await app(self._scope, self._receive_held, self._send_wanted)
            if self._late_answer is not None:
                await self._late_answer
        finally:
            self._alarm.cancel()
            pump.cancel()
            if self._late_answer is not None:
                self._late_answer.cancel()

    async def _pump(self) -> None:
        """Read one message ahead of the app; after the body, wait for the client to leave."""
        while not self._gone:
            try:
                message = await self._receive()
            except Exception as error:  # such as a body limit's; it belongs to whoever reads the body
                await self._hold(error)
                return
            if message["type"] == "http.disconnect":
                self._leave()
            else:
                await self._hold(message)

    async def _hold(self, item: Message | Exception) -> None:
        self._held = item
        self._notify()
        # Only of an unfinished body may more come, and no more than one message of it is kept.
        while self._held is not None and isinstance(item, dict) and item.get("more_body"):
            await self._changed.wait()

    def _leave(self) -> None:
        self._gone = True
        if not self._finished:  # servers report the end of a response as a disconnect, too
            self._work.cancel()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _receive_held(self) -> Message:
        while self._held is None:
            if self._gone:
                return {"type": "http.disconnect"}
            await self._changed.wait()
        item = self._held
        if isinstance(item, Exception):
            raise item  # at every further call, too
        self._held = None
        self._notify()
        return item

    async def _send_wanted(self, message: Message) -> None:
        if self._work.cancel_called:
            await anyio.lowlevel.checkpoint()  # the cancellation lands here
            return
        if self._alarm is not None:
            self._alarm.cancel()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._finished = True
        await self._send(message)

    def _expire(self, timeout_s: float) -> None:
        """Stop the handler, and answer at once, even if it takes long to stop."""
        if not self._work.cancel_called:
            self._work.cancel()
            self._late_answer = asyncio.get_running_loop().create_task(self._answer_late(timeout_s))

    async def _answer_late(self, timeout_s: float) -> None:
        answer = error_response(
            504,
            f"no answer within the time limit of {timeout_s:g} s; if an engine had to be loaded or built"
            " first, that goes on, so ask again in a minute",
            code="deadline_exceeded",
        )
        with suppress(OSError):  # the client may be gone as well
            await answer(self._scope, self._receive, self._send)
