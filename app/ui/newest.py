"""Let the newest of a page's requests answer: an older one may end later, and would take its place."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from gradio.context import LocalContext

from engines.errors import EngineError

P = ParamSpec("P")
T = TypeVar("T")


def newest_wins(handler: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, AsyncGenerator[T, None]]:
    """Wrap a handler that yields: once a newer call of the same open page shows something, older ones end.

    They do so silently, with the next value that they would have yielded. Until then they hold that value
    back: a newer call that ends without one, such as a question that is refused, takes nothing away.
    """
    pages: WeakValueDictionary[object, _Calls] = WeakValueDictionary()

    @functools.wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        call = asyncio.Event()
        calls = pages.setdefault(_open_page() or call, _Calls())
        calls.append(call)
        try:
            async with aclosing(handler(*args, **kwargs)) as values:
                async for value in values:
                    if not await calls.may_show(call):
                        return
                    yield value
        except EngineError:
            if calls[-1:] == [call]:
                raise
        finally:
            calls.end(call)

    return wrapped


class _Calls(list[asyncio.Event]):
    """A page's calls that may show something, as they were made; each is set when it has, or has ended."""

    async def may_show(self, call: asyncio.Event) -> bool:
        """Wait for what becomes of newer calls; return whether they leave the page to this one."""
        while call in self and self[-1] is not call:
            await self[-1].wait()
        if call not in self:
            return False
        self[:] = [call]
        call.set()
        return True

    def end(self, call: asyncio.Event) -> None:
        """Leave the page to the older calls that still run, if this one has shown nothing."""
        if call in self:
            self.remove(call)
        call.set()


def _open_page() -> str | None:
    """Return what names the page that the event in work belongs to; programs that call it have none."""
    request = LocalContext.request.get(None)
    return getattr(request, "session_hash", None)
