"""The time gate: python -m app.cli.gate. Fails when the product has become slow, large or heavy.

A fresh server is started, asked through REST and gradio_client, and stopped. The whole may take
SIGLIP_SLA_SECONDS. Each stage's time is divided by that of a reference kernel, the median of what was
measured between the stages, because machines differ and are shared, and has to stay in the band of
tests/perf_budget.json.

Exit code 1: something left its band, in two runs; the table says what. Exit code 2: it could not be measured.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from app.cli.build import main as build_engines
from app.cli.errors import run_command
from app.cli.gate_stages import DEPEND_ON, MODEL, PARTS, measure_stages
from app.settings import Settings
from engines.errors import InvalidInputError
from use_cases.gate.budget import (
    Judged,
    Limit,
    Quantity,
    check_writable,
    difference,
    judge,
    limit_of,
    read_budget,
    write_budget,
)
from use_cases.load.connection import LoadTestError

_BUDGET = Path(__file__).parent.parent.parent / "tests" / "perf_budget.json"
_ALL_ENGINES = "onnx-fp32,onnx-int8-dynamic"
_ALL_PARTS = ",".join(PARTS)
_SLA = "SIGLIP_SLA_SECONDS"
_DEFAULT_SLA_S = 60.0
_WHOLE = "the whole"


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.gate",
        description=f"Start the server, use it, stop it, and compare what that took with {_BUDGET.name}.",
        epilog=f"{_SLA} is the time that the whole may take (default: {_DEFAULT_SLA_S:g}). Exit code 1:"
        " something is over its budget. Exit code 2: it could not be measured.",
    )
    parser.add_argument(
        "--update", action="store_true", help="take what was measured as the budget, and print the difference"
    )
    parser.add_argument("--budget", type=Path, default=_BUDGET, help="the file (default: the project's)")
    parser.add_argument(
        "--parts", default=_ALL_PARTS, help="beside the server's start and end (default: %(default)s)"
    )
    parser.add_argument("--script", type=Path, help="that starts the server (default: app.py)")
    parser.add_argument(
        "--engines",
        default=_ALL_ENGINES,
        help=f"of {MODEL}, whose answers are timed (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # not a line for each request
    return run_command(partial(_run, build_parser().parse_args(argv)), LoadTestError)


def _run(args: argparse.Namespace) -> int:
    sla_s = _sla_seconds(os.environ.get(_SLA, ""))
    limits = read_budget(args.budget)
    if not limits and not args.update:
        raise InvalidInputError(f"There is no budget {args.budget.name}; write one with --update.")
    if args.update:
        check_writable(args.budget)
    for engine in _names(args.engines):
        if code := build_engines([MODEL, "--engine", engine]):
            return code
    quantities, whole_s = _measure(args)
    altered = _altered_parts(args)
    if incomparable := _incomparable(altered):
        print(f"Not compared, for what they depend on was left out: {', '.join(incomparable)}.\n")
    if args.update:
        return _update(args.budget, limits, quantities, keep=bool(altered))
    if altered:  # what was left out on purpose is not missing
        limits = {name: limit for name, limit in limits.items() if name in {each.name for each in quantities}}
    judged = judge(quantities, limits)
    if whole_s > sla_s or any(each.verdict == "over" for each in judged):
        print(gate_table(judged, whole_s, sla_s))
        print("\nSomething is over its budget; once more, for a neighbour may have disturbed it.\n")
        again, again_s = _measure(args)
        judged, whole_s = judge(_better(quantities, again), limits), min(whole_s, again_s)
    print(gate_table(judged, whole_s, sla_s))
    return int(_fails(judged, whole_s, sla_s))


def gate_table(judged: Sequence[Judged], whole_s: float, sla_s: float) -> str:
    """Return a table of what was measured beside what is allowed."""
    rows = [("stage", "measured", "ms", "allowed", "")]
    rows += [_row(each) for each in judged]
    verdict = "over" if whole_s > sla_s else "ok"
    rows.append((_WHOLE, f"{whole_s:.1f} s", f"{whole_s * 1000:.0f}", f"{sla_s:g} s", verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(judged: Judged) -> tuple[str, str, str, str, str]:
    quantity, limit = judged.quantity, judged.limit
    unit = (quantity or limit).unit if quantity or limit else ""  # type: ignore[union-attr]
    measured = f"{quantity.value:.4g} {unit}" if quantity else "not measured"
    ms = f"{quantity.ms:.0f}" if quantity and quantity.ms is not None else ""
    allowed = f"{limit.low:g} to {limit.high:g}" if limit else "nothing yet: see --update"
    remark = {"under": "under: tighten it with --update"}.get(judged.verdict, judged.verdict)
    return judged.name, measured, ms, allowed, remark


def _altered_parts(args: argparse.Namespace) -> set[str]:
    """Return which parts are not as in the whole gate."""
    left_out = set(PARTS) - set(_names(args.parts))
    return left_out | ({"engines"} if set(_names(args.engines)) != set(_names(_ALL_ENGINES)) else set())


def _incomparable(altered: set[str]) -> list[str]:
    """Return the quantities that are others than in the whole gate where these parts are."""
    return [name for name, parts in DEPEND_ON.items() if altered.intersection(parts)]


def _measure(args: argparse.Namespace) -> tuple[list[Quantity], float]:
    """Return what can be compared with the whole gate's budget, and the seconds that measuring took."""
    parts = _names(args.parts)
    if unknown := set(parts) - set(PARTS):
        raise InvalidInputError(f"There is no part {min(unknown)!r}; there are {', '.join(PARTS)}.")
    start_s = time.perf_counter()
    quantities = measure_stages(parts, Settings().cache_dir, _names(args.engines), args.script)
    whole_s = time.perf_counter() - start_s
    incomparable = _incomparable(_altered_parts(args))
    return [quantity for quantity in quantities if quantity.name not in incomparable], whole_s


def _better(first: Sequence[Quantity], second: Sequence[Quantity]) -> list[Quantity]:
    """Return of each quantity the smaller value: what a neighbour does can only add."""
    both = {quantity.name: quantity for quantity in first}
    return [min(both.get(each.name, each), each, key=lambda quantity: quantity.value) for each in second]


def _fails(judged: Sequence[Judged], whole_s: float, sla_s: float) -> bool:
    return whole_s > sla_s or any(each.fails for each in judged)


def _update(path: Path, before: dict[str, Limit], quantities: Sequence[Quantity], *, keep: bool) -> int:
    after = (before if keep else {}) | {quantity.name: limit_of(quantity) for quantity in quantities}
    print("\n".join(difference(before, after)) or "Nothing changes.")
    write_budget(path, after)
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _sla_seconds(text: str) -> float:
    try:
        seconds = float(text or _DEFAULT_SLA_S)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidInputError(f"{_SLA} is {text!r}; give a number of seconds, such as 60.")
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
