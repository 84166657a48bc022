"""Links to the views of the comparison tab: what one fills in is what it was made from."""

import html
import re

import gradio as gr
import pytest
from starlette.requests import Request

from app.services import Services
from app.ui.compare_engines_handlers import EngineHandlers
from app.ui.compare_links import make_link, render_link
from app.ui.compare_many_handlers import ManyHandlers
from tests.app.search_page import LoadedPool, page_request
from tests.use_cases.retrieval.pictures import stored_spec

pytestmark = pytest.mark.anyio
MODELS = ("colours", "shapes")


class Pool(LoadedPool):
    """Its models have specs, too."""

    async def spec(self, model):
        return self.specs[model]


@pytest.fixture
async def services():
    pool = Pool(colours=stored_spec(), shapes=stored_spec("shapes", score="softmax"))
    services = Services(pool, MODELS)
    yield services
    await services.close()


def opened(handlers, link):
    query = link.removeprefix("?").encode()
    return handlers.on_link(gr.Request(Request({"type": "http", "query_string": query, "headers": []})))


def link_in(markup):
    return html.unescape(re.search(r'href="([^"]*)"', markup)[1])


async def test_many_images_are_linked_by_their_names(services):
    handlers = ManyHandlers(services)
    asked = (
        None,
        ["cat.jpg", "coffee.jpg"],
        "a cat & more\nünïcode 猫",
        False,
        ["shapes"],
        ["onnx-fp32", ""],
    )
    (shown,) = [each async for each in handlers.on_run(*asked)]
    link = link_in(shown[1])
    tabs, views, *form = opened(handlers, link)
    assert (tabs.selected, views.selected) == ("compare", "compare-many")
    assert tuple(form) == asked[1:]


async def test_engines_are_linked_with_their_model(services):
    handlers = EngineHandlers(services)
    asked = ("shapes", ["onnx-fp32", "onnx-int4"], 32)
    link = link_in(await handlers.on_estimate(*asked, await page_request()))
    tabs, views, *form = opened(handlers, link)
    assert (tabs.selected, views.selected) == ("compare", "compare-engines")
    assert tuple(form) == asked


async def test_what_a_link_names_and_does_not_exist_is_left_out(services):
    many = opened(ManyHandlers(services), "?view=compare-many&image=../secret&model=/etc&engine=x")
    assert many[2:] == ([], "", True, list(MODELS), [""])
    engines = opened(EngineHandlers(services), "?view=compare-engines&model=/etc&engine=x&pictures=-1")
    assert [engines[2] == gr.skip(), engines[3], engines[4] == gr.skip()] == [True, [], True]


@pytest.mark.parametrize("link", ["", "?view=compare", "?view=compare-many&view=compare-engines"])
async def test_another_link_leaves_all_as_it_is(services, link):
    for handlers in (ManyHandlers(services), EngineHandlers(services)):
        assert all(each == gr.skip() for each in opened(handlers, link))


def test_a_link_is_escaped_or_says_why_there_is_none():
    assert 'href="?view=v&amp;text=%22%3E"' in render_link(make_link("v", [("text", '">')]))
    assert "uploads cannot be linked" in render_link("?view=v", uploaded=True)
    assert "too many inputs" in render_link(make_link("v", [("text", "a" * 6_001)]))
