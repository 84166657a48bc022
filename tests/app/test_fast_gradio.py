"""Gradio is imported without writing stubs, and works all the same."""

import subprocess
import sys

from tests.app.processes import PROJECT

SCRIPT = """
from app.fast_gradio import skip_type_stubs
import sys
finders = len(sys.meta_path)
skip_type_stubs()
import gradio
import gradio.component_meta as meta
print(meta.create_or_modify_pyi(None, None, None), gradio.Textbox("x").value, len(sys.meta_path) == finders)
skip_type_stubs()
print(len(sys.meta_path) == finders)
"""


def test_the_function_is_replaced_and_the_hook_is_gone():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["None x True", "True"]
