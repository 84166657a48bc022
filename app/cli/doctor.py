"""Examine this installation: python -m app.cli.doctor [--verify] [--json]."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from app.cli.errors import run_command
from app.settings import Settings
from engines.checkpoints.registry import default_models
from engines.factory import EngineOptions
from use_cases.doctor import Diagnosis, diagnose

_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.doctor",
        description="Say what this machine offers, what is installed and which engine each model should use.",
        epilog="Exit code 1: something that is needed is missing.",
    )
    parser.add_argument(
        "--verify", action="store_true", help="read all artifacts and compare their checksums"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of tables")
    return parser


def to_json(diagnosis: Diagnosis) -> str:
    """Return one line of JSON."""
    return json.dumps(asdict(diagnosis), default=sorted)  # sets become lists


def to_tables(diagnosis: Diagnosis) -> str:
    """Return tables for people."""
    cpu = diagnosis.cpu
    name = cpu.model if cpu.model.startswith(cpu.vendor) else f"{cpu.vendor} {cpu.model}"
    width = max(map(len, diagnosis.packages)) + 2
    lines = [
        f"CPU         {name}, {cpu.architecture}, {cpu.cores:g} cores for this process",
        f"            {', '.join(sorted(cpu.instructions)) or 'no instruction set known'}",
        f"Memory      {cpu.memory_bytes / 2**30:.1f} GiB for this process",
        "",
        "Packages",
        *(f"  {name:<{width}}{version or '-'}" for name, version in diagnosis.packages.items()),
        "",
        f"Models      bundled: {', '.join(diagnosis.bundled)}",
        f"            in the Hugging Face cache: {', '.join(diagnosis.cached) or 'none'}",
        "",
        "Artifacts" if diagnosis.artifacts else "Artifacts   none built yet",
    ]
    for artifact in diagnosis.artifacts:
        state = {True: "whole", False: "DAMAGED", None: ""}[artifact.whole]
        lines.append(
            f"  {artifact.name:<60}{artifact.size_bytes / 1e6:>9.1f} MB{_age(artifact.age_s):>7}  {state}"
        )
    for model in diagnosis.models:
        lines += ["", f"{model.name}: {model.recommended or 'cannot be used'}. {model.problem or model.why}"]
        lines += [
            f"  {engine.name:<28}{'yes' if engine.available else 'no':<5}{engine.reason}"
            f"{'; ' + engine.quality.summary if engine.quality else ''}"
            for engine in model.engines
        ]
    lines += ["", *(diagnosis.problems or ("Nothing that is needed is missing.",))]
    return "\n".join(line.rstrip() for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return run_command(partial(_run, build_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    settings = Settings()
    options = EngineOptions(
        cache_dir=settings.cache_dir, allow_pickled_weights=settings.allow_pickled_weights
    )
    diagnosis = diagnose(settings.models or default_models(), options, args.verify)
    print(to_json(diagnosis) if args.json else to_tables(diagnosis))
    return 1 if diagnosis.problems else 0


def _age(seconds: float) -> str:
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / _MINUTE_S:.0f} min"


if __name__ == "__main__":
    raise SystemExit(main())
