"""Gradio is imported without writing stubs and docstrings, and works all the same."""

import subprocess
import sys

from tests.app.processes import PROJECT

SCRIPT = """
from app.fast_gradio import skip_editor_help
import sys
finders = len(sys.meta_path)
skip_editor_help()
import gradio
import gradio.component_meta as meta
print(meta.create_or_modify_pyi(None, None, None), gradio.Textbox("x").value, len(sys.meta_path) == finders)
skip_editor_help()
print(len(sys.meta_path) == finders)
print("{{ component }}" in gradio.Textbox.change.__doc__)
with gradio.Blocks():
    box = gradio.Textbox()
    box.change(lambda text: text, box, box)
"""


def test_the_functions_are_replaced_and_the_hook_is_gone():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["None x True", "True", "True"]
