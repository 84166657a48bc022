"""How every command ends when something cannot be used: sentences on stderr, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pydantic import ValidationError

from app.settings import setting_problems
from engines.errors import EngineError, InferenceError


def run_command(command: Callable[[], int], *expected: type[Exception]) -> int:
    """Run a command and return its exit code; other errors than those named here are bugs and leave it.

    Exit code 2 means that a setting, a name or a file cannot be used, 1 that an engine failed on what can.

    Args:
        command: returns its own exit code.
        expected: errors beside `EngineError` whose message is one sentence that a user can act on.
    """
    kinds: tuple[type[Exception], ...] = (EngineError, *expected)
    try:
        return command()
    except ValidationError as error:
        print(setting_problems(error), file=sys.stderr)
    except InferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except kinds as error:
        print(f"error: {error}", file=sys.stderr)
    return 2
