"""Draw with plotly in a gr.HTML: gr.Plot tells nobody of clicks, and builds figures with plotly's classes.

The script is that of the installed package, 4.5 MB, and only who asks for a chart loads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import plotly

_LOADER = Path(__file__).with_name("plotly.js")
_PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def build_plotly_html(script: Path, **options: Any) -> gr.HTML:
    """Add an empty gr.HTML that a script fills, which may call loadPlotly() and colour(name).

    Args:
        script: in JavaScript.
        options: of gr.HTML.
    """
    gr.set_static_paths([_PLOTLY])
    code = _LOADER.read_text("utf-8") + script.read_text("utf-8")
    return gr.HTML(js_on_load=code, plotly=str(_PLOTLY), **options)
