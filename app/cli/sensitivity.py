"""Show which blocks of a model quantization hurts: python -m app.cli.sensitivity MODEL --engine E."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from app.cli.errors import run_command
from app.cli.profile import check_writable
from app.settings import Settings
from engines.factory import EngineOptions, resolve_model
from engines.models import bundled_models
from engines.onnx.artifacts import ensure_block_losses
from engines.onnx.graphs import METHODS
from use_cases.sensitivity import BlockRow, block_rows, draw_blocks


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.sensitivity",
        description="Quantize one block of a model at a time and show what each costs: signal-to-noise"
        " ratio and cosine of the embeddings against float32, and the nearest neighbours that stay.",
        epilog="Exit code 2: a name cannot be used; one sentence on stderr says why.",
    )
    parser.add_argument("model", help=f"{', '.join(bundled_models())}, a checkpoint folder or a hub id")
    parser.add_argument("--engine", default=next(iter(METHODS)), help=" or ".join(METHODS))
    parser.add_argument("--plot", type=Path, metavar="FILE.html", help="also draw the blocks into a file")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    return parser


def to_table(model: str, engine: str, towers: Mapping[str, Sequence[BlockRow]]) -> str:
    """Return a table for people, the blocks that lose most first."""
    lines = [f"{model} on {engine}: each block quantized alone"]
    for tower, rows in towers.items():
        lines += ["", f"{tower} tower", f"  {'SNR dB':>7}  {'cosine':>8}  {'lowest':>8}  {'top-1':>6}  block"]
        lines += [
            f"  {row.snr_db:7.1f}  {row.cosine_mean:8.5f}  {row.cosine_min:8.5f}  {row.top1_agreement:6.1%}"
            f"  {row.block}{'  (stays in float)' if row.in_float else ''}"
            for row in rows
        ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run_command(partial(_run, build_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    if args.plot:
        check_writable(args.plot)
    settings = Settings()
    options = EngineOptions(
        cache_dir=settings.cache_dir,
        allow_download=settings.download,
        allow_pickled_weights=settings.allow_pickled_weights,
    )
    spec = resolve_model(args.model, options)
    towers = block_rows(*ensure_block_losses(spec, args.engine, settings.cache_dir))
    if args.json:
        rows = {tower: [row.to_json() for row in rows] for tower, rows in towers.items()}
        print(json.dumps({"model": spec.name, "engine": args.engine, "towers": rows}))
    else:
        print(to_table(spec.name, args.engine, towers))
    if args.plot:
        args.plot.write_text(draw_blocks(f"{spec.name} on {args.engine}", towers), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
