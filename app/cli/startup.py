"""Time fresh processes from start to first answer: python -m app.cli.startup.

Each round starts the server and asks it over HTTP as soon as it listens, and runs the classify
command once. Prints a table for people; the last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx

from app.cli.errors import run_command
from app.cli.numbers import rounds
from app.cli.own_server import server_process
from use_cases.load.connection import LoadTestError

_PROJECT_DIR = Path(__file__).parent.parent.parent
_PHOTO = _PROJECT_DIR / "engines" / "gallery" / "images" / "cat.jpg"
_LABELS = "a cat, a dog, a lion, a horse, a bird"
_TIMEOUT_S = 120


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.startup",
        description="Time fresh processes from start to first answer.",
        epilog="Exit code 2: something cannot be used, or did not start; one sentence on stderr says what.",
    )
    parser.add_argument("--rounds", type=rounds, default=5, help="fresh processes of each kind (default: 5)")
    return parser


def start_server_and_ask() -> float:
    """Return the seconds from starting `app.py` to its first classification, both bundled models asked.

    Raises:
        LoadTestError: when it does not start, or does not answer.
    """
    start_s = time.perf_counter()
    with server_process({}) as server:
        try:
            _ask(server.address)
        except httpx.HTTPError as error:
            raise LoadTestError(f"The server did not answer: {error}") from None
        return time.perf_counter() - start_s


def run_classify() -> float:
    """Return the seconds that `python -m app.cli.classify` takes for one image.

    Raises:
        LoadTestError: when it fails.
    """
    start_s = time.perf_counter()
    command = [sys.executable, "-m", "app.cli.classify", str(_PHOTO), "--labels", _LABELS]
    done = subprocess.run(command, cwd=_PROJECT_DIR, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise LoadTestError(f"The classify command failed: {last.removeprefix('error: ')}")
    return time.perf_counter() - start_s


def _ask(address: str) -> None:
    api = f"{address}/gradio_api"
    with httpx.Client(timeout=_TIMEOUT_S) as client:
        path = _answer(client.post(f"{api}/upload", files={"files": _PHOTO.read_bytes()})).json()[0]
        image = {"path": path, "meta": {"_type": "gradio.FileData"}}
        values = [image, _LABELS, "", ["siglit-mini", "lit-mini"], ""]
        job = _answer(client.post(f"{api}/call/zero_shot", json={"data": values}))
        events = _answer(client.get(f"{api}/call/zero_shot/{job.json()['event_id']}"))
    if "event: complete" not in events.text:
        raise LoadTestError(f"The server did not answer: {' '.join(events.text.split())}")


def _answer(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise LoadTestError(f"The server did not answer: {' '.join(response.text.split())}")
    return response


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return run_command(partial(_run, build_parser().parse_args(argv)), LoadTestError)


def _run(args: argparse.Namespace) -> int:
    kinds: dict[str, Callable[[], float]] = {"server": start_server_and_ask, "classify": run_classify}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for measure in kinds.values():
        measure()  # warms the page cache up
    for _ in range(args.rounds):  # in turn, so that both meet the same conditions
        for kind, measure in kinds.items():
            seconds[kind].append(measure())
    print(f"{'start to first answer':<24}{'median s':>9}{'min s':>8}{'max s':>8}")
    for kind, values in seconds.items():
        print(f"{kind:<24}{statistics.median(values):>9.2f}{min(values):>8.2f}{max(values):>8.2f}")
    print(
        json.dumps({f"{kind}_s": [round(value, 3) for value in values] for kind, values in seconds.items()})
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
