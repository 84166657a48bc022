"""How every command ends when something cannot be used: sentences on stderr, and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOWrapper
from typing import Any, TextIO

from pydantic import ValidationError

from app.settings import setting_problems
from engines.artifacts.builders import stop_builders
from engines.errors import EngineError, InferenceError

INTERRUPTED = 130  # as shells report a command that Ctrl-C ended
_READER_GONE = 141  # likewise, when what read its output had enough, as head has
_TERMINATED = 143  # likewise, that SIGTERM ended


class _TerminatedError(SystemExit):
    """SIGTERM came; asyncio hands no other exception but this kind and Ctrl-C's through."""


class _OutputError(Exception):
    """Stdout cannot be written; the cause says why."""


class _Output:
    """Stdout, whose failures are told apart from those of other files and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as the stream does.

        Raises:
            _OutputError: when it cannot.
        """
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _OutputError from error

    def flush(self) -> None:
        """Write what is kept back so far.

        Raises:
            _OutputError: when it cannot be written.
        """
        try:
            self._stream.flush()
        except OSError as error:
            raise _OutputError from error


def run_command(command: Callable[[], int], *expected: type[Exception]) -> int:
    """Run a command and return its exit code; other errors than those named here are bugs and leave it.

    Exit code 2 means that a setting, a name or a file cannot be used, or stdout not be written; 1 that an
    engine failed on what can; 130 that Ctrl-C ended the command; 141 that nobody reads its output any more;
    143 that SIGTERM ended it, after it has stopped what it had started.

    Args:
        command: returns its own exit code.
        expected: errors beside `EngineError` whose message is one sentence that a user can act on.
    """
    stdout = sys.stdout
    if isinstance(
        stdout, TextIOWrapper
    ):  # a name that the terminal's encoding lacks must not end the command
        stdout.reconfigure(errors="backslashreplace")
    try:
        with _ended_by_sigterm():
            if stdout is None:  # the command was started without any, and print() knows that
                return _run(command, expected)
            with redirect_stdout(_Output(stdout)) as output:
                code = _run(command, expected)
                output.flush()  # not at the end of the process, where an error is no sentence
            return code
    except _TerminatedError:
        print("Terminated.", file=sys.stderr)
        return _TERMINATED
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except _OutputError as error:
        _give_up(stdout)
        if isinstance(error.__cause__, BrokenPipeError):
            return _READER_GONE
        reason = getattr(error.__cause__, "strerror", None) or error.__cause__
        print(f"error: The output cannot be written ({reason}).", file=sys.stderr)
        return 2


def _run(command: Callable[[], int], expected: tuple[type[Exception], ...]) -> int:
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


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: at once it would leave servers and workers running.

    Only the main thread may handle signals, and a handler that is there already stays.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(*_: object) -> None:
    # `timeout` sends two signals; the second one must not end what the first one makes the command stop.
    signal.signal(signal.SIGTERM, lambda *_: None)
    stop_builders()  # Ctrl-C reaches them by itself; the command waits for them
    raise _TerminatedError(_TERMINATED)


def _give_up(stdout: TextIO) -> None:
    """Let what is still kept back for stdout go nowhere: Python writes it when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stdout.fileno())
    os.close(nowhere)
