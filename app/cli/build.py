"""Build engines ahead of their first use: python -m app.cli.build [MODEL ...] [--engine ENGINE]."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from app.cli.errors import run_command
from app.cli.numbers import whole_number
from app.settings import Settings
from engines.factory import ENGINES, EngineOptions, load_engine, resolve_model
from engines.models import ModelSpec, bundled_models
from engines.quality import read_quality

_MAX_JOBS = 64


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.build",
        description="Build what an engine needs of a model and measure how close it is to float32, so that"
        " its first use need not.",
    )
    parser.add_argument(
        "models", nargs="*", default=list(bundled_models()), help="models (default: the bundled pair)"
    )
    parser.add_argument("--engine", default="onnx-fp32", help="default: onnx-fp32")
    parser.add_argument(
        "--jobs",
        type=partial(whole_number, most=_MAX_JOBS),
        default=1,
        help="models to build at a time, each of which takes memory (default: %(default)s)",
    )
    parser.add_argument("--cache-dir", type=Path, help="where it is kept (default: SIGLIP_CACHE_DIR)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run_command(partial(_run, build_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    settings = Settings()
    options = EngineOptions(
        cache_dir=args.cache_dir or settings.cache_dir,
        gated=settings.gated,
        allow_download=settings.download,
        allow_pickled_weights=settings.allow_pickled_weights,
    )
    # A wrong name should not be told after minutes of building the right ones.
    specs = [resolve_model(model, options) for model in args.models]
    with ThreadPoolExecutor(args.jobs) as pool:
        for line in pool.map(lambda spec: _build(spec, args.engine, options), specs):
            print(line)
    return 0


def _build(spec: ModelSpec, engine: str, options: EngineOptions) -> str:
    """Build and return one line about it."""
    loaded = load_engine(spec, engine, options)
    quality = read_quality(loaded.spec, engine, options.folder) if ENGINES[engine].gate else None
    if quality is None:
        return f"{spec.name} on {engine}: ready"
    return (
        f"{spec.name} on {engine}: ready; cosine to float32 {quality.image_cosine_mean:.4f} for images,"
        f" {quality.text_cosine_mean:.4f} for texts; same top-1 {quality.top1_agreement:.1%}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
