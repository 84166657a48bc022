"""Show where an engine's time goes: python -m app.cli.profile MODEL --engine onnx-fp32,torch-fp32.

The runtimes' own profilers tell the blocks and operators of one tower, all engines under the same names of
blocks; a sampling profiler tells the stages of whole requests; a fresh process for each engine tells its
memory. The arithmetic is the model's, the peaks are measured in the same run.

Prints tables for people; the last line of stdout is one compact JSON document.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from app.cli.errors import run_command
from app.cli.profile_table import profile_tables
from app.settings import Settings
from engines.calibration import held_out_set
from engines.checkpoints.random_weights import PREFIX, RANDOM_CHECKPOINTS
from engines.errors import InvalidInputError
from engines.machine.cpu import read_cpu
from engines.models import bundled_models
from engines.onnx.allocator import Allocator
from engines.profiling.blocks import TOWERS
from use_cases.benchmark import Samples
from use_cases.profiling.plot import draw_profile
from use_cases.profiling.run import ProfilePlan, run_profile

_MAX_BATCH_SIZE, _MAX_THREADS = 256, 1024
_MAX_SECONDS = 300.0  # which are spent three times, within the time that a worker has


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.profile",
        description="Profile engines: time by block and operator beside this machine's peak, the stages of a"
        " request, memory.",
        epilog="Exit code 2: a name, a number or a file cannot be used; one sentence on stderr says why.",
    )
    parser.add_argument(
        "model",
        help=f"{', '.join(bundled_models())}, a checkpoint folder, a cached hub id, or random weights of a"
        f" published size: {', '.join(PREFIX + name for name in RANDOM_CHECKPOINTS)}",
    )
    parser.add_argument("--engine", required=True, help="one, or several with commas between, to compare")
    parser.add_argument("--tower", choices=TOWERS, default="image", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="for each engine's plain calls, profiled calls, and requests (default: %(default)g)",
    )
    parser.add_argument("--threads", type=int, default=None, help="per operator (default: one a core)")
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE.json",
        help="keep the runtime's profile for chrome://tracing or ui.perfetto.dev; with several engines"
        " FILE-ENGINE.json each",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.html", help="draw the blocks, engines side by side"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    _add_switches(parser)
    return parser


def _add_switches(parser: argparse.ArgumentParser) -> None:
    switches = parser.add_argument_group(
        "ONNX Runtime's memory",
        "the arena is on and the pattern off unless switched; the defaults are then measured beside",
    )
    switches.add_argument(
        "--ort-arena",
        action=argparse.BooleanOptionalAction,
        default=Allocator().arena,
        help="keep activations' memory for later ones instead of returning it",
    )
    switches.add_argument(
        "--ort-mem-pattern",
        action=argparse.BooleanOptionalAction,
        default=Allocator().mem_pattern,
        help="plan the activations of shapes that are known into one piece",
    )


def main(argv: Sequence[str] | None = None, samples: Samples | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        argv: the arguments; the process's when None.
        samples: pictures and sentences; the held-out set when None.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr: it takes a minute
    return run_command(partial(_run, build_parser().parse_args(argv), samples))


def _run(args: argparse.Namespace, samples: Samples | None) -> int:
    plan = read_plan(args)
    for path in (*map(plan.trace_of, plan.engines), args.plot):
        if path is not None:
            check_writable(path)
    profile = run_profile(plan, samples or held_out_set())
    if args.plot:
        args.plot.write_text(draw_profile(profile), "utf-8")
    if not args.json:
        print(profile_tables(profile))
    print(json.dumps(asdict(profile), separators=(",", ":"), allow_nan=False))
    return 0


def read_plan(args: argparse.Namespace) -> ProfilePlan:
    """Return what the arguments ask for.

    Raises:
        InvalidInputError: when a number is out of its range, or no engine or no file is named.
    """
    engines = tuple(dict.fromkeys(name.strip() for name in args.engine.split(",") if name.strip()))
    if not engines:
        raise InvalidInputError("Name at least one engine, such as --engine onnx-fp32.")
    threads = read_cpu().num_threads if args.threads is None else args.threads
    for option, value, most in (
        ("--batch-size", args.batch_size, _MAX_BATCH_SIZE),
        ("--threads", threads, _MAX_THREADS),
    ):
        if not 1 <= value <= most:
            raise InvalidInputError(f"{option} is {value}; give a whole number from 1 to {most}.")
    if not (math.isfinite(args.seconds) and 0 < args.seconds <= _MAX_SECONDS):
        raise InvalidInputError(
            f"--seconds is {args.seconds:g}; give a number above 0, at most {_MAX_SECONDS:g}."
        )
    if args.trace is not None and not args.trace.name:
        raise InvalidInputError(f"--trace is {str(args.trace)!r}; name a file, such as trace.json.")
    return ProfilePlan(
        model=args.model,
        engines=engines,
        tower=args.tower,
        batch_size=args.batch_size,
        seconds=args.seconds,
        num_threads=threads,
        allocator=Allocator(arena=args.ort_arena, mem_pattern=args.ort_mem_pattern),
        trace=args.trace,
        allow_pickled_weights=Settings().allow_pickled_weights,
    )


def check_writable(path: Path) -> None:
    """Find out before minutes of work whether a file can be written; what it holds stays.

    Raises:
        InvalidInputError: when it cannot.
    """
    is_new = not os.path.exists(path)  # unlike pathlib's, it raises nothing
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise InvalidInputError(
            f"Cannot write {path} ({error.strerror}); name a file in a folder that can be written."
        ) from None
    if is_new:
        path.unlink()


if __name__ == "__main__":
    raise SystemExit(main())
