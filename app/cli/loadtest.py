"""Test a server under load: python -m app.cli.loadtest [--url http://127.0.0.1:7860].

Without an address it starts a server of its own. Each request brings an image that is new to the server; the
labels are known. After the levels it compares, in rounds: the server with threads that do the same work
without one, a lone client with the engine alone, a request with its repetition, many texts in one request
with a request each, and with --sweep the batch policy with fixed ones. The clients run on the server's own
cores; "client cores" says how much of them they take.

Prints tables for people; the last line of stdout is one compact JSON document, in which null stands for
what could not be measured. With --url a server's work counts as foreign, so no round is clean.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

from app.cli.errors import run_command
from app.cli.load_table import load_table
from app.cli.numbers import rounds, seconds, whole_number
from app.cli.own_server import OwnServer, own_server
from app.cli.records import show_record
from app.settings import Settings
from engines.checkpoints.random_weights import PREFIX, SEED, ensure_random_checkpoint
from engines.factory import ENGINES
from engines.machine.cpu import read_cpu
from engines.worker.shared import available_cores
from use_cases.benchmark import public_name
from use_cases.latency import MAX_FOREIGN_CORES
from use_cases.load.clients import KINDS
from use_cases.load.connection import HUNG_AFTER_S, LoadTestError
from use_cases.load.plan import LoadPlan
from use_cases.load.run import fewest_clean_rounds, run_load_test
from use_cases.load.server import Server
from use_cases.results import build_record

_MAX_CLIENTS, _MAX_SHARE = 1024, 100


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.loadtest",
        description="Test a server under load, and compare it with the same work without one.",
        epilog="SIGLIP_API_KEYS: the first key is sent. Exit code 2: something cannot be used; one sentence"
        " on stderr says what.",
    )
    parser.add_argument("--url", help="address of a running server (default: start one)")
    parser.add_argument(
        "--clients", type=_clients, default=None, help="comma-separated numbers (default: 1,4,16,64)"
    )
    parser.add_argument(
        "--seconds", type=seconds, default=30.0, help="for each of them (default: %(default)g)"
    )
    parser.add_argument(
        "--mix", type=_mix, default=None, help="requests of each kind in turn (default: classify=1,embed=1)"
    )
    parser.add_argument(
        "--model",
        default="siglit-mini",
        help=f"as SIGLIP_MODELS takes it, or {PREFIX}NAME for random weights (default: %(default)s)",
    )
    parser.add_argument("--engine", choices=tuple(ENGINES), help="(default: the server's choice)")
    parser.add_argument("--rounds", type=rounds, default=3, help="of the comparisons (default: %(default)s)")
    parser.add_argument("--sweep", action="store_true", help="compare the batch policy with fixed ones, too")
    parser.add_argument("--write", action="store_true", help="keep a record in comparison_results/")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr: a test takes minutes
    return run_command(partial(_run, build_parser().parse_args(argv)), LoadTestError)


def _run(args: argparse.Namespace) -> int:
    settings = Settings()
    plan = LoadPlan(
        seconds=args.seconds,
        rounds=args.rounds,
        sweep=args.sweep,
        allow_pickled_weights=settings.allow_pickled_weights,
        **_given(args),
    )
    source, random = args.model, args.model.startswith(PREFIX)
    if random:
        source = str(ensure_random_checkpoint(source.removeprefix(PREFIX)))
    if args.url:
        given: AbstractContextManager[OwnServer] = nullcontext(OwnServer(args.url, None))
    else:  # random weights say nothing about accuracy
        given = own_server(source, args.engine, gated=not random)
    with given as running:
        server = Server(
            address=running.address,
            model=source,
            engine=args.engine,
            api_key=_api_key(settings),
            pid=running.pid,
        )
        levels, comparisons = run_load_test(server, plan, model=public_name(args.model), source=source)
        record = build_record(
            "load",
            command=command_line(args),
            cpu=read_cpu(),
            threads=available_cores(),
            seed=SEED,
            rounds=plan.rounds,
            clean_rounds=fewest_clean_rounds(comparisons),
            settings=_settings(plan),
            results=[*map(asdict, levels), *map(asdict, comparisons)],
        )
        # Before the server is stopped: one that does not stop is an error, which must not cost the record.
        return show_record(record, load_table(levels, comparisons), write=args.write)


def command_line(args: argparse.Namespace) -> str:
    """Return the command that measures the same, without paths and addresses of this machine."""
    words = [f"python -m app.cli.loadtest --model {public_name(args.model)}"]
    words += ["--url URL"] if args.url else []
    words += [f"--engine {args.engine}"] if args.engine else []
    words += [f"--clients {','.join(map(str, args.clients))}"] if args.clients else []
    words += [f"--seconds {args.seconds:g} --rounds {args.rounds}"]
    words += [f"--mix {','.join(f'{kind}={share}' for kind, share in args.mix.items())}"] if args.mix else []
    words += ["--sweep"] if args.sweep else []
    words += ["--write"] if args.write else []
    return " ".join(words)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name in ("clients", "mix") if (value := getattr(args, name)) is not None}


def _api_key(settings: Settings) -> str | None:
    return settings.api_keys[0].get_secret_value() if settings.api_keys else None


def _settings(plan: LoadPlan) -> dict[str, Any]:
    return {
        "mix": dict(plan.mix),
        "seconds": plan.seconds,
        "warmup_s": plan.warmup_s,
        "round_s": plan.round_s,
        "hung_after_s": HUNG_AFTER_S,
        "image": "a new JPEG of 640 x 480 for each request",
        "max_foreign_cores": MAX_FOREIGN_CORES,
        "statistic": "levels: one run; comparisons: median of the rounds, of clean ones where there are any",
    }


def _clients(text: str) -> tuple[int, ...]:
    return tuple(sorted({whole_number(part, _MAX_CLIENTS) for part in text.split(",")}))


def _mix(text: str) -> dict[str, int]:
    mix: dict[str, int] = {}
    for part in text.split(","):
        kind, _, share = part.strip().partition("=")
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is no kind of request; there are {', '.join(KINDS)}")
        mix[kind] = whole_number(share, _MAX_SHARE)
    return mix


if __name__ == "__main__":
    raise SystemExit(main())
