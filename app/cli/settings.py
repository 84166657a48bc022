"""Print all settings: as a table for the README, or as an example for .env.

`python -m app.cli.settings [--env]`
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.cli.errors import run_command
from app.settings import Settings


def markdown_table() -> str:
    """Return every setting with its default and meaning."""
    rows = [
        f"| `SIGLIP_{name.upper()}` | {f'`{default}`' if (default := _default(field)) else ''} |"
        f" {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def env_example() -> str:
    """Return a .env file with every default; what is unset is commented out."""
    lines = ["# Copy to .env and change what you need; these are the defaults."]
    for name, field in Settings.model_fields.items():
        default = _default(field)
        lines += ["", f"# {field.description}", f"{'' if default else '# '}SIGLIP_{name.upper()}={default}"]
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return str(value).replace(os.path.expanduser("~"), "~", 1)
    assert not isinstance(value, SecretStr), "a secret has no default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m app.cli.settings", description=__doc__)
    parser.add_argument("--env", action="store_true", help="as a .env file")
    return run_command(partial(_run, parser.parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    print(env_example() if args.env else markdown_table(), end="" if args.env else "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
