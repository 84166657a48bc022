"""The search tab: a text or an image in, the nearest images of a gallery out, one column a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.services import Services
from app.ui import search_cards, search_gallery_panel, search_map, search_progress
from app.ui.search_cards import EMPTY_STATE, ON_LOAD
from app.ui.search_form import SearchControls, SearchForm, build_form
from app.ui.search_gallery_handlers import GalleryHandlers
from app.ui.search_gallery_panel import GalleryPanel, build_gallery_panel
from app.ui.search_handlers import SearchHandlers
from app.ui.search_map import MapHandlers, MapPart, build_map
from app.ui.search_question import IMAGES, TEXTS
from app.ui.uploads import EVENT_OPTIONS

CSS = search_cards.CSS + search_map.CSS + search_progress.CSS + search_gallery_panel.CSS
_PRIVATE: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private"}
_AGAIN = _PRIVATE | {"trigger_mode": "multiple"}  # while the last question is not answered
_QUIET = _PRIVATE | {"show_progress": "hidden"}
# The results lie below the fold on a phone, and begin above it for who pressed "Next" at their end.
_SHOW = """() => {{
    const shown = document.getElementById("{0}"), {{top}} = shown.getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) shown.scrollIntoView({{behavior: "smooth", block: "start"}});
}}"""


@dataclass(frozen=True, slots=True)
class _Results:
    """The right side: what was found."""

    html: gr.HTML
    page: gr.State
    pages: gr.Row
    previous: gr.Button
    following: gr.Button

    @property
    def outputs(self) -> list[Any]:
        return [self.html, self.page, self.pages, self.previous, self.following]


@dataclass(frozen=True, slots=True)
class _Watch:
    """What is shown while a gallery is filled."""

    status: gr.HTML
    timer: gr.Timer
    cancel: gr.Button

    @property
    def outputs(self) -> list[Any]:
        return [self.status, self.timer, self.cancel]


def build_search_tab(services: Services) -> None:
    """Add the tab to the surrounding gr.Tabs."""
    handlers, galleries, maps = SearchHandlers(services), GalleryHandlers(services), MapHandlers(services)
    with gr.Tab("Search", id="search") as tab, gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            form, controls = build_form(services)
            may_change = services.gallery_options.may_change
            panel = build_gallery_panel(services) if may_change else None
        with gr.Column(scale=4, min_width=300, elem_id="search-right"):
            watch, results = _build_right()
            map_part = build_map(services, maps)
    _wire_search(handlers, form, controls, results, [results.html, map_part.html])
    _wire_map(maps, form, map_part)
    opened = _wire_galleries(galleries, form, tab, watch)
    if panel is not None:
        _wire_panel(galleries, form, panel, watch, opened)
        tab.select(galleries.on_rights, None, [panel.accordion, panel.folder], **_QUIET)


def _build_right() -> tuple[_Watch, _Results]:
    status = gr.HTML(elem_id="search-status")
    cancel = gr.Button("Stop adding", size="sm", visible=False)
    timer = gr.Timer(1, active=False)
    html = gr.HTML(EMPTY_STATE, js_on_load=ON_LOAD, elem_id="search-results")
    with gr.Row(visible=False) as pages:
        previous = gr.Button("← Previous", size="sm", min_width=80)
        following = gr.Button("Next →", size="sm", min_width=80)
    return _Watch(status, timer, cancel), _Results(html, gr.State(None), pages, previous, following)


def _wire_search(
    handlers: SearchHandlers,
    form: SearchForm,
    controls: SearchControls,
    results: _Results,
    pickable: Sequence[gr.HTML],
) -> None:
    """Let every way to ask end in an answer, which is scrolled to."""
    question, shown = form.components, results.outputs
    examined = controls.examples.click(
        lambda sample: (IMAGES, sample[0], None, ""),
        controls.examples,
        [form.mode, form.text, form.image, form.like],
        api_visibility="private",
    )
    query = [form.mode, form.text, form.negative, form.image, form.like]
    picked = gr.on([each.select for each in pickable], handlers.on_pick, None, query, **_QUIET)
    cleared = results.html.clear(lambda: "", None, form.like, **_QUIET)
    uploaded = form.image.upload(lambda: "", None, form.like, **_QUIET)
    moved = form.gallery.change(lambda: "", None, form.like, **_QUIET)
    answered = [
        controls.search.click(handlers.on_search, question, shown, **_AGAIN),
        form.text.submit(handlers.on_search, question, shown, **_AGAIN),
        form.negative.submit(handlers.on_search, question, shown, **_AGAIN),
        examined.then(handlers.on_search, question, shown, **_AGAIN),
        picked.success(handlers.on_search, question, shown, **_AGAIN),
        uploaded.then(handlers.on_search, question, shown, **_AGAIN),
        results.previous.click(handlers.on_previous, results.page, shown, **_AGAIN),
        results.following.click(handlers.on_next, results.page, shown, **_AGAIN),
    ]
    for event in answered:
        event.success(None, js=_SHOW.format("search-results"), api_visibility="private")
    for event in (cleared, moved):
        event.then(handlers.on_change, question, shown, **_AGAIN)
    form.mode.change(_on_mode, form.mode, [form.text, form.negative, form.tags], **_QUIET)
    for changed in (form.engine.change, form.models.change, *(event.success for event in answered[:2])):
        changed(handlers.on_engine, [form.models, form.engine], controls.qualities, **_QUIET)


def _wire_map(handlers: MapHandlers, form: SearchForm, part: MapPart) -> None:
    """Draw the map when it is opened; another gallery closes it."""
    which = [form.gallery, part.model]
    gr.on([part.accordion.expand, part.model.change], handlers.on_map, which, part.html, **_QUIET)
    form.gallery.change(lambda: gr.Accordion(open=False), None, part.accordion, **_QUIET)


def _wire_galleries(
    handlers: GalleryHandlers, form: SearchForm, tab: gr.Tab, watch: _Watch
) -> gr.events.Dependency:
    """Keep the galleries, and what happens to the chosen one, up to date; return the event of opening."""
    opened = tab.select(handlers.on_open, form.gallery, [form.gallery, *watch.outputs], **_QUIET)
    form.gallery.change(handlers.on_watch, form.gallery, watch.outputs, **_QUIET)
    watch.timer.tick(handlers.on_watch, form.gallery, watch.outputs, **_QUIET)
    watch.cancel.click(handlers.on_cancel, form.gallery, watch.outputs, **_QUIET)
    return opened


def _wire_panel(
    handlers: GalleryHandlers,
    form: SearchForm,
    panel: GalleryPanel,
    watch: _Watch,
    opened: gr.events.Dependency,
) -> None:
    """Let a visitor make galleries and remove them; a late answer to the tab's opening hides nothing then."""
    chosen = [form.gallery, *watch.outputs]
    panel.add.click(
        handlers.on_add,
        panel.components,
        [*chosen, panel.files, panel.folder],
        cancels=[opened],
        **_PRIVATE,
    ).success(None, js=_SHOW.format("search-status"), api_visibility="private")
    panel.remove.click(handlers.on_ask, form.gallery, [panel.confirmation, panel.question], **_QUIET)
    for event in (panel.keep.click, form.gallery.change):
        event(lambda: gr.update(visible=False), None, panel.confirmation, **_QUIET)
    panel.really_remove.click(handlers.on_remove, form.gallery, [*chosen, panel.confirmation], **_QUIET)


def _on_mode(mode: str) -> tuple[Any, Any, Any]:
    """Show what belongs to the kind of thing that is looked for."""
    texts = mode == TEXTS
    return gr.update(visible=not texts), gr.update(visible=not texts), gr.update(visible=texts)
