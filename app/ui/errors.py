"""Turn the errors that users can act on into Gradio's error toast."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
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


def streams_errors(handler: Callable[P, AsyncGenerator[R, None]]) -> Callable[P, AsyncIterator[R]]:
    """Do the same for a handler that yields; whoever closes it ends the handler at once."""

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        with _toasts():
            async with aclosing(handler(*args, **kwargs)) as values:
                async for value in values:
                    yield value

    return guarded


@contextmanager
def _toasts() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise gr.Error(str(error), print_exception=False) from error
