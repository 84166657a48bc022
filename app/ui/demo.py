"""The Gradio app: title, tabs, footer; nothing else."""

from __future__ import annotations

import gradio as gr

from app.services import Services
from app.ui import compare_tab, engine_choice, latency_tab, result_cards, search_tab
from app.ui.blocks import GuardedBlocks
from app.ui.compare_endpoints import build_compare_endpoints
from app.ui.endpoints import build_endpoints
from app.ui.search_endpoints import build_search_endpoints
from app.ui.zero_shot_tab import build_zero_shot_tab

TITLE = "SigLIP-as-Server"
INTRODUCTION = f"""
# {TITLE}
Ask SigLIP and CLIP which of your words fit a picture, on an ordinary CPU, and see how they differ.
"""
# Room for all tabs on a phone; Gradio would put some into a menu.
_NARROW_TABS = "@media (max-width: 480px) { .tab-container button { padding: 0 6px !important; } }\n"
CSS = _NARROW_TABS + result_cards.CSS + engine_choice.CSS + search_tab.CSS + compare_tab.CSS + latency_tab.CSS
THEME = gr.themes.Soft()


def build_demo(services: Services) -> GuardedBlocks:
    """Build the whole interface around the shared engines."""
    demo = GuardedBlocks(title=TITLE, fill_width=True, delete_cache=(600, 3600))
    with demo:
        gr.Markdown(INTRODUCTION)
        with gr.Tabs() as tabs:
            build_zero_shot_tab(services)
            search_tab.build_search_tab(services)
            compare_tab.build_compare_tab(services, demo, tabs)
            latency_tab.build_latency_tab(services, tabs)
        build_endpoints(services)
        build_search_endpoints(services)
        build_compare_endpoints(services)
    # Handlers are asynchronous and the batcher bounds the work: Gradio must not serialise them.
    demo.queue(default_concurrency_limit=None, max_size=256)
    return demo
