"""The map of a gallery: every image a point, hover shows it, a click searches by it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.gallery_search import open_table
from app.services import Services
from app.ui.errors import shows_errors
from app.ui.html_parts import data_uri
from app.ui.plotly_html import build_plotly_html
from app.ui.uploads import as_text
from engines.errors import EngineError
from use_cases.retrieval.gallery_map import GalleryMap, GalleryMaps
from use_cases.retrieval.image_table import ImageTable

_SCRIPT = Path(__file__).with_name("search_map.js")
_TEMPLATE = (
    '<div class="map"><div class="plot"></div>'
    '<div class="map-tip" hidden><img alt=""><span></span></div></div><p class="map-note"></p>'
)
_NO_THUMBNAIL = "data:,"

CSS = """
.map { position: relative; }
.map .plot { height: min(460px, 70vh); border: 1px solid var(--border-color-primary);
    border-radius: var(--radius-lg); overflow: hidden; background: var(--background-fill-primary); }
.map .map-tip { position: absolute; width: 160px; padding: 6px; z-index: 2; pointer-events: none;
    border: 1px solid var(--border-color-primary); border-radius: var(--radius-md); font-size: .8rem;
    background: var(--background-fill-primary); color: var(--body-text-color);
    box-shadow: 0 2px 8px rgba(0, 0, 0, .3); }
.map .map-tip[hidden] { display: none; }
.map .map-tip img { width: 100%; height: 100px; object-fit: contain; margin: 0 0 4px; }
.map-note { margin: 6px 0 0; font-size: .85rem; color: var(--body-text-color); opacity: .75; }
"""


@dataclass(frozen=True, slots=True)
class MapPart:
    """The components of the map."""

    accordion: gr.Accordion
    model: gr.Dropdown
    html: gr.HTML


class MapHandlers:
    """The handlers of the map's events, around the shared galleries."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._maps = GalleryMaps()

    @shows_errors
    async def on_map(self, gallery: Any, model: Any) -> dict[str, Any]:
        """Return what the page's script draws."""
        gallery, model = as_text("gallery", gallery), as_text("model", model)
        with self._services.metrics.request("page", "map"):
            table = await self._table(gallery, model)
            drawn = await asyncio.to_thread(self._maps.of, table)
        return _to_draw(gallery, model, drawn)

    async def thumbnail(self, which: Any) -> str:
        """Return an image of a gallery as an address that holds it, of nothing when there is no such image.

        Args:
            which: gallery, model and id, from the page's script.
        """
        if not isinstance(which, list) or len(which) != 3 or not all(isinstance(each, str) for each in which):
            return _NO_THUMBNAIL
        gallery, model, id_ = which
        try:
            table = await self._table(gallery, model)
            records, _ = await asyncio.to_thread(table.snapshot().find, [id_])
        except EngineError:  # the gallery was removed while its map was looked at
            return _NO_THUMBNAIL
        return data_uri(records[0].thumbnail) if records else _NO_THUMBNAIL

    async def _table(self, gallery: str, model: str) -> ImageTable:
        pooled = await self._services.engine(model)
        return await open_table(self._services, gallery, pooled.engine.spec)


def build_map(services: Services, handlers: MapHandlers) -> MapPart:
    """Add the map, closed, to the surrounding column."""

    async def thumbnail(which: Any) -> str:  # Gradio marks the function, which a method does not allow
        return await handlers.thumbnail(which)

    with gr.Accordion("Map of the gallery", open=False, elem_id="search-map") as accordion:
        model = gr.Dropdown(list(services.models), value=services.models[0], label="As seen by")
        html = build_plotly_html(_SCRIPT, html_template=_TEMPLATE, server_functions=[thumbnail])
    return MapPart(accordion, model, html)


def _to_draw(gallery: str, model: str, drawn: GalleryMap) -> dict[str, Any]:
    shown = f"{len(drawn.ids):,} of {drawn.total:,}" if len(drawn.ids) < drawn.total else f"{drawn.total:,}"
    return {
        "key": f"{gallery}/{model}",
        "gallery": gallery,
        "model": model,
        "ids": drawn.ids,
        "captions": drawn.captions,
        "x": drawn.coordinates[:, 0].tolist(),
        "y": drawn.coordinates[:, 1].tolist(),
        "note": f"{shown} images in the plane of their largest variance (PCA), which keeps"
        f" {100 * drawn.explained:.0f} % of it. Numbers are the ranks of the results; a click searches by an"
        " image.",
    }
