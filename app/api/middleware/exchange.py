"""One request while its handler runs: a pump that watches the client, and a clock."""

from __future__ import annotations

from contextlib import suppress

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import error_response


class Exchange:
    """Runs an app on one request until it is done, late, or its client has gone.

    The app runs in the caller's own task, so that the server's cancellation reaches it as always; two
    helper tasks read for it and keep the time. For one request, once.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        """Stand between a server's `receive` and `send` and the app."""
        self._scope, self._receive, self._send = scope, receive, send
        self._work = anyio.CancelScope()  # the app
        self._patience = anyio.CancelScope()  # the clock, until the response starts
        self._pumping = anyio.CancelScope()
        self._held: Message | Exception | None = None  # read by the pump, not yet taken by the app
        self._changed = anyio.Event()
        self._gone = self._late = self._finished = False

    async def run(self, app: ASGIApp, timeout_s: float) -> None:
        """Call the app; whatever it raises is raised, unless it was cancelled here."""
        failure: Exception | None = None
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._pump)
            helpers.start_soon(self._keep_time, timeout_s)
            with self._work:
                try:
                    await app(self._scope, self._receive_held, self._send_wanted)
                except Exception as error:  # leaves outside the group, which would wrap it
                    failure = error
            self._patience.cancel()
            self._pumping.cancel()
        if failure is not None:
            raise failure

    async def _pump(self) -> None:
        """Read one message ahead of the app; after the body, wait for the client to leave."""
        with self._pumping:
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
        self._changed = anyio.Event()

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
        if self._late or self._work.cancel_called:
            await anyio.lowlevel.checkpoint()  # the cancellation lands here
            return
        self._patience.cancel()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._finished = True
        await self._send(message)

    async def _keep_time(self, timeout_s: float) -> None:
        """Answer 504 as soon as the time is over, even if the handler takes long to stop."""
        with self._patience:
            await anyio.sleep(timeout_s)
        if self._patience.cancel_called or self._work.cancel_called:
            return
        self._late = True
        self._work.cancel()
        answer = error_response(
            504, f"no answer within the time limit of {timeout_s:g} s", code="deadline_exceeded"
        )
        with suppress(OSError):  # the client may be gone as well
            await answer(self._scope, self._receive, self._send)
