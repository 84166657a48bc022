"""Time fresh processes from start to first answer: python -m app.cli.startup.

Each round starts the server and asks it over HTTP as soon as it listens, and runs the classify
command once. Prints a table for people; the last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import httpx

_PROJECT_DIR = Path(__file__).parent.parent.parent
_PHOTO = _PROJECT_DIR / "engines" / "gallery" / "images" / "cat.jpg"
_LABELS = "a cat, a dog, a lion, a horse, a bird"
_TIMEOUT_S = 120


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.startup", description="Time fresh processes from start to first answer."
    )
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each kind (default: 5)")
    return parser


def start_server_and_ask() -> float:
    """Return the seconds from starting `app.py` to its first classification, both bundled models asked."""
    start_s = time.perf_counter()
    command = [sys.executable, str(_PROJECT_DIR / "app.py"), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        _ask(_address(server.stderr))
        return time.perf_counter() - start_s
    finally:
        server.terminate()
        server.communicate(timeout=_TIMEOUT_S)


def run_classify() -> float:
    """Return the seconds that `python -m app.cli.classify` takes for one image."""
    start_s = time.perf_counter()
    command = [sys.executable, "-m", "app.cli.classify", str(_PHOTO), "--labels", _LABELS]
    subprocess.run(command, cwd=_PROJECT_DIR, check=True, capture_output=True)
    return time.perf_counter() - start_s


def _address(stderr: IO[str]) -> str:
    for line in stderr:
        if match := re.search(r"http://[\d.:]+", line):
            return match.group()
    raise RuntimeError("the server ended before it listened")


def _ask(address: str) -> None:
    api = f"{address}/gradio_api"
    with httpx.Client(timeout=_TIMEOUT_S) as client:
        path = client.post(f"{api}/upload", files={"files": _PHOTO.read_bytes()}).json()[0]
        image = {"path": path, "meta": {"_type": "gradio.FileData"}}
        values = [image, _LABELS, "", ["siglit-mini", "lit-mini"], ""]
        job = client.post(f"{api}/call/zero_shot", json={"data": values})
        events = client.get(f"{api}/call/zero_shot/{job.json()['event_id']}")
    if "event: complete" not in events.text:
        raise RuntimeError(f"the server did not answer: {events.text}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = build_parser().parse_args(argv)
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
