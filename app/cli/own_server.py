"""Start `python app.py` on a free port for a command that asks it, and stop it afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from use_cases.load.connection import LoadTestError
from use_cases.workers import kill_tree

_APP = Path(__file__).parent.parent.parent / "app.py"
_SETTINGS = "SIGLIP_"  # how the names of the settings begin
_START_S, _STOP_S = 120, 60


class OwnServer(NamedTuple):
    """Where a server is."""

    address: str
    pid: int | None  # None for a server that somebody else has started


@contextmanager
def own_server(model: str, engine: str | None, *, gated: bool = True) -> Iterator[OwnServer]:
    """Run a fresh server during the block: one model, no gallery; all other settings are the environment's.

    Args:
        model: the one model.
        engine: its engine; the server's choice when None.
        gated: False offers a quantized engine however far it is from float32.

    Raises:
        LoadTestError: when it does not start.
    """
    settings = {"SIGLIP_MODELS": model}
    settings |= {"SIGLIP_DEMO_GALLERY": "false"}  # filling it would take part of what is measured
    settings |= {"SIGLIP_ENGINE": engine} if engine else {}
    settings |= {} if gated else {"SIGLIP_GATED": "false"}
    with server_process(settings) as server:
        yield server


@contextmanager
def server_process(
    settings: Mapping[str, str], script: Path | None = None, *, inherits: bool = True
) -> Iterator[OwnServer]:
    """Run a fresh server during the block, from when it listens; it may still be loading.

    Args:
        settings: environment variables beside those of this process.
        script: that starts it; the project's own when None.
        inherits: whether this process's other settings are the server's, too.

    Raises:
        LoadTestError: when it does not start, or does not stop.
    """
    inherited = dict(os.environ)
    if not inherits:
        inherited = {name: value for name, value in inherited.items() if not name.startswith(_SETTINGS)}
    environment = {**inherited, **settings}
    command = [sys.executable, str(script or _APP), "--host", "127.0.0.1", "--port", "0"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"  # a pipe that nobody reads would fill up
        with log.open("w") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield OwnServer(_address(process, log), process.pid)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s:
        text = log.read_text("utf-8", "replace")
        if match := re.search(r"http://[\d.]+:\d+", text):
            return match.group()
        if process.poll() is not None:
            last = (text.strip().splitlines() or ["it said nothing"])[-1]
            raise LoadTestError(f"The server did not start: {last.removeprefix('error: ')}")
        time.sleep(0.05)
    raise LoadTestError(f"The server did not start within {_START_S} s.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        raise LoadTestError(
            f"The server did not stop within {_STOP_S} s of SIGTERM and was killed."
        ) from None
    finally:
        if process.poll() is None:  # also when a signal ends the wait
            kill_tree(process.pid)
            process.wait()
