"""Measure engines on this machine: python -m app.cli.benchmark --models random:siglip-base-patch16-224.

Each engine runs in fresh processes, in rounds that take turns with plain transformers (the library's own
model and processor in float32), so that "x plain" is a ratio of numbers taken side by side. Rounds that
other processes disturbed are marked, and left out where there are clean ones.

Prints a table for people; the last line of stdout is one compact JSON document, in which null stands for
what could not be measured.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from app.cli.benchmark_table import towers_table
from app.cli.errors import run_command
from app.cli.numbers import rounds, whole_number
from app.cli.records import show_record
from app.cli.request_table import requests_table
from app.settings import Settings
from engines.calibration import held_out_set
from engines.checkpoints.random_weights import PREFIX, RANDOM_CHECKPOINTS, SEED
from engines.errors import InvalidInputError
from engines.factory import ENGINES, check_engines
from engines.machine.cpu import read_cpu
from engines.models import bundled_models
from use_cases.benchmark import BenchmarkPlan, Samples, public_name, run_benchmark
from use_cases.latency import MAX_FOREIGN_CORES, Effort, fewest_clean_rounds
from use_cases.request_benchmark import run_request_benchmark
from use_cases.results import build_record

_QUICK = Effort(num_warmup=1, min_iters=2, min_duration_s=0.1)
_MAX_BATCH_SIZE, _MAX_THREADS = 256, 1024


class _Measured(NamedTuple):
    table: str
    results: list[dict[str, Any]]
    clean_rounds: int


def _measure_towers(plan: BenchmarkPlan, samples: Samples) -> _Measured:
    results = run_benchmark(plan, samples)
    summaries = [
        summary for result in results for sizes in result.p50_ms.values() for summary in sizes.values()
    ]
    return _Measured(
        towers_table(results, plan), [asdict(result) for result in results], fewest_clean_rounds(summaries)
    )


def _measure_requests(plan: BenchmarkPlan, samples: Samples) -> _Measured:
    results = run_request_benchmark(plan)
    summaries = [result.value for result in results if result.value]
    return _Measured(
        requests_table(results), [asdict(result) for result in results], fewest_clean_rounds(summaries)
    )


_SUITES: Mapping[str, Callable[[BenchmarkPlan, Samples], _Measured]] = MappingProxyType(
    {"towers": _measure_towers, "requests": _measure_requests}
)


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.benchmark",
        description="Measure engines on this machine, side by side with plain transformers.",
        epilog="Exit code 2: a name or number cannot be used; one sentence on stderr says why.",
    )
    parser.add_argument(
        "--suite",
        choices=tuple(_SUITES),
        default="towers",
        help="towers: latency, memory and agreement of each engine; requests: preparing a large photo,"
        " zero-shot requests, two clients, the share of the int8 peak (default: %(default)s)",
    )
    parser.add_argument(
        "--models",
        default=",".join(bundled_models()),
        help="comma-separated: bundled names, checkpoint folders, cached hub ids, or random weights of a"
        f" published size: {', '.join(PREFIX + name for name in RANDOM_CHECKPOINTS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--engines", default=",".join(ENGINES), help="comma-separated (default: all, %(default)s)"
    )
    parser.add_argument(
        "--batch-sizes", type=_batch_sizes, default=None, help="items a call (default: 1,2,4,8)"
    )
    parser.add_argument("--rounds", type=rounds, default=None, help="fresh processes an engine (default: 3)")
    parser.add_argument(
        "--threads",
        type=partial(whole_number, most=_MAX_THREADS),
        default=2,
        help="threads an operator (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="one round of few calls, to try it out")
    parser.add_argument("--write", action="store_true", help="keep a record in comparison_results/")
    return parser


def main(argv: Sequence[str] | None = None, samples: Samples | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        argv: the arguments; the process's when None.
        samples: pictures and sentences; the held-out set when None.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr: a benchmark takes minutes
    return run_command(partial(_run, build_parser().parse_args(argv), samples))


def _run(args: argparse.Namespace, samples: Samples | None) -> int:
    plan = read_plan(args)
    measured = _SUITES[args.suite](plan, samples or held_out_set())
    record = build_record(
        args.suite,
        command=command_line(args),
        cpu=read_cpu(),
        threads=plan.num_threads,
        seed=SEED,
        rounds=plan.num_rounds,
        clean_rounds=measured.clean_rounds,
        settings=_settings(plan),
        results=measured.results,
    )
    return show_record(record, measured.table, write=args.write)


def read_plan(args: argparse.Namespace) -> BenchmarkPlan:
    """Return what the arguments ask for.

    Raises:
        InvalidInputError: when a list is empty.
        UnknownModelError: when an engine's name is not known.
    """
    models, engines = _names(args.models), _names(args.engines)
    if not models or not engines:
        raise InvalidInputError("Name at least one model and one engine.")
    check_engines(engines)
    return BenchmarkPlan(
        models=models,
        engines=engines,
        batch_sizes=args.batch_sizes or ((1,) if args.quick else (1, 2, 4, 8)),
        num_rounds=args.rounds or (1 if args.quick else 3),
        num_threads=args.threads,
        effort=_QUICK if args.quick else Effort(),
        allow_pickled_weights=Settings().allow_pickled_weights,
    )


def command_line(args: argparse.Namespace) -> str:
    """Return the command that measures the same, without paths of this machine."""
    words = [f"python -m app.cli.benchmark --suite {args.suite}"]
    words.append(f"--models {','.join(public_name(model) for model in _names(args.models))}")
    words.append(f"--engines {args.engines} --threads {args.threads}")
    if args.batch_sizes:
        words.append(f"--batch-sizes {','.join(map(str, args.batch_sizes))}")
    words += [f"--rounds {args.rounds}"] if args.rounds else []
    words += ["--quick"] if args.quick else []
    words += ["--write"] if args.write else []
    return " ".join(words)


def _settings(plan: BenchmarkPlan) -> dict[str, Any]:
    return {
        "batch_sizes": list(plan.batch_sizes),
        "effort": asdict(plan.effort),
        "max_foreign_cores": MAX_FOREIGN_CORES,
        "statistic": "median of the rounds' p50, p95 or rate; clean rounds only where there are any",
    }


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _batch_sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({whole_number(size, _MAX_BATCH_SIZE) for size in text.split(",")}))


if __name__ == "__main__":
    raise SystemExit(main())
