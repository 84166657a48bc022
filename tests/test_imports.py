"""Layers import downwards only, and nothing heavy is imported before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "module",
    [
        "app.main",
        "app.cli.classify",
        "app.cli.benchmark",
        "app.cli.doctor",
        "app.cli.report",
        "app.cli.loadtest",
        "app.cli.profile",
        "use_cases.benchmark_worker",
        "use_cases.zero_shot",
        "engines.pool",
        "engines.checkpoints.random_weights",
    ],
)
def test_importing_a_module_loads_no_runtime(module):
    script = (
        f"import sys, {module}; "
        "print(sorted({'torch', 'transformers', 'onnxruntime', 'gradio', 'open_clip'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
