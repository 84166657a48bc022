"""Export the bundled models to ONNX ahead of the first start: python -m app.cli.export."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from app.settings import Settings, setting_problems
from engines.errors import EngineError
from engines.models import bundled_models
from engines.onnx.artifacts import ensure_exported


def build_parser() -> argparse.ArgumentParser:
    """Build the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m app.cli.export",
        description="Export the bundled models to ONNX, so that the first start need not.",
    )
    parser.add_argument("--cache-dir", type=Path, help="where the graphs go (default: SIGLIP_CACHE_DIR)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = build_parser().parse_args(argv)
    try:
        cache_dir = args.cache_dir or Settings().cache_dir
        for spec in bundled_models().values():
            print(ensure_exported(spec, cache_dir))
    except ValidationError as error:
        print(setting_problems(error), file=sys.stderr)
        return 2
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
