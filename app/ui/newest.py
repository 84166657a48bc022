"""Let the newest of a page's requests answer: an older one may end later, and would take its place."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import ParamSpec, TypeVar

from gradio.context import LocalContext

from engines.errors import EngineError

P = ParamSpec("P")
T = TypeVar("T")


def newest_wins(handler: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, AsyncGenerator[T, None]]:
    """Wrap a handler that yields: where the same open page has called it again, the older call ends silently.

    What the older call still does ends with the next value that it would have yielded.
    """
    newest: dict[object, object] = {}

    @functools.wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        call = object()
        page = _open_page() or call
        newest[page] = call
        try:
            async with aclosing(handler(*args, **kwargs)) as values:
                async for value in values:
                    if newest.get(page) is not call:
                        return
                    yield value
        except EngineError:
            if newest.get(page) is call:
                raise
        finally:
            if newest.get(page) is call:
                del newest[page]

    return wrapped


def _open_page() -> str | None:
    """Return what names the page that the event in work belongs to; programs that call it have none."""
    request = LocalContext.request.get(None)
    return getattr(request, "session_hash", None)
