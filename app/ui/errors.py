"""Turn the errors that users can act on into Gradio's error toast."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import gradio as gr

from engines.errors import EngineError

P = ParamSpec("P")
R = TypeVar("R")


def shows_errors(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Show an EngineError's sentence to the user; other errors stay bugs, with their traceback."""

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with _toasts():
            return await handler(*args, **kwargs)

    return guarded


def streams_errors(handler: Callable[P, AsyncIterator[R]]) -> Callable[P, AsyncIterator[R]]:
    """Do the same for a handler that yields."""

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        with _toasts():
            async for value in handler(*args, **kwargs):
                yield value

    return guarded


@contextmanager
def _toasts() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise gr.Error(str(error), print_exception=False) from error
