"""The comparison tab: SigLIP against CLIP on one image, on many, with mistakes, and engine against engine."""

from __future__ import annotations

import gradio as gr

from app.services import Services
from app.ui import compare_engines, compare_many, compare_mistakes, compare_one, compare_tables

CSS = compare_tables.CSS


def build_compare_tab(services: Services, page: gr.Blocks, tabs: gr.Tabs) -> None:
    """Add the tab to the surrounding gr.Tabs.

    Args:
        services: what the handlers ask.
        page: whose address may ask for a comparison.
        tabs: the surrounding ones, of which such an address opens this.
    """
    with gr.Tab("Compare", id="compare"), gr.Tabs() as inner:
        with gr.Tab("One image", id="compare-one"):
            linked = [compare_one.build(services)]
        with gr.Tab("Many images", id="compare-many"):
            linked.append(compare_many.build(services))
        with gr.Tab("Preparation mistakes", id="compare-mistakes"):
            compare_mistakes.build(services)
        with gr.Tab("Engines", id="compare-engines"):
            linked.append(compare_engines.build(services))
    for fill, components in linked:
        page.load(
            fill,
            None,
            [tabs, inner, *components],
            api_visibility="private",
            show_progress="hidden",
            concurrency_limit=None,
        )
