"""The search tab without a browser, for the tests: what the page sends, and what a reader sees of it."""

import asyncio
import html.parser

import gradio as gr
from starlette.requests import Request

from app.rights import RIGHTS, RequestRights
from app.ui.search_handlers import SearchHandlers
from app.ui.search_question import IMAGES
from tests.fakes import FakePool
from tests.use_cases.retrieval.pictures import save_colours
from use_cases.retrieval.sources import Folder

MODELS = ("colours", "shapes")


class LoadedPool(FakePool):
    """All of its engines count as loaded."""

    async def key(self, model, engine=None):
        return model

    def is_ready(self, key):
        return True


class Page(html.parser.HTMLParser):
    """Collects what a reader of the page sees, and the attributes of its buttons."""

    def __init__(self, markup):
        super().__init__()
        self.words, self.tags, self.buttons = [], set(), []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "button":
            self.buttons.append(dict(attrs))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


async def page_request(*, may_change=True, host="localhost"):
    """Return what a handler is told of a request to a server that trusts its own machine alone."""
    passed = []

    async def app(scope, receive, send):
        passed.append(scope)

    rights = RequestRights(app, local_only=RIGHTS, page_may_change=may_change)
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"host", host.encode())]}
    await rights(scope, None, None)
    return gr.Request(Request(passed[0]))


def values(**changes):
    """Return what the form sends when nothing was changed but that."""
    sent = {
        "gallery": "mine", "mode": IMAGES, "text": "", "image": None, "like": "", "tags": "",
        "models": list(MODELS), "top_k": 10, "min_score": 0, "negative": "", "text_weight": 1,
        "image_weight": 1, "negative_weight": 0.5, "id_prefix": "", "caption_contains": "", "min_side": 0,
        "orientation": "any", "hide_duplicates": False, "engine": "",
    }  # fmt: skip
    return list((sent | changes).values())


async def begin_to_fill(services, folder):
    """Let a job for the gallery "mine" wait for its engine, until the `release` of that is set."""
    await services.engines(["colours"])
    engine = services.pool.running["colours"].engine
    engine.release.clear()
    await services.galleries.add("mine", Folder(save_colours(folder / "in")), ["colours"])
    assert await asyncio.to_thread(engine.started.wait, 30)
    return engine


async def last(stream):
    return [shown async for shown in stream][-1]


async def search(services, **changes):
    """Search as the page does; return the page of results, and all that was shown."""
    shown = await last(SearchHandlers(services).on_search(*values(**changes)))
    return Page(shown[0]), shown


async def collect(stream, steps):
    """Append what is shown to a list, which has it even if the stream fails."""
    async for step in stream:
        steps.append(step)
