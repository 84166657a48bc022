"""Turn the errors that users can act on into Gradio's error toast."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from engines.errors import EngineError

P = ParamSpec("P")
R = TypeVar("R")


def shows_errors(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Show an EngineError's sentence to the user; other errors stay bugs, with their traceback."""

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except EngineError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return guarded
