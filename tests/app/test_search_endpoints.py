"""Galleries for gradio_client and MCP clients, against a real server."""

import base64
import io
import json

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from engines.gallery import GALLERY_DIR

pytestmark = pytest.mark.model
NAMES = ("cat.jpg", "rocket.jpg", "coffee.jpg", "bananas.png", "astronaut.jpg", "bed.png")
CAT = GALLERY_DIR / "images" / "cat.jpg"
GALLERY = "for-programs"


@pytest.fixture(scope="module")
def address(server):
    """Fill a gallery of the server; return its address."""
    files = [("files", (name, (CAT.parent / name).read_bytes())) for name in NAMES]
    form = {"gallery": GALLERY, "wait": "true", "captions": json.dumps({"cat.jpg": "A cat looks at you."})}
    assert httpx.post(f"{server}/v1/index", data=form, files=files, timeout=60).status_code == 200
    yield server
    httpx.delete(f"{server}/v1/index/{GALLERY}")


@pytest.fixture(scope="module")
def client(address):
    client = Client(address, verbose=False)
    yield client
    client.close()


def ids(answer, place=0):
    return [hit["id"] for hit in answer["results"][place]["hits"]]


def test_every_parameter_may_be_left_out(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert all(parameter["parameter_has_default"] for parameter in endpoints["/search"]["parameters"])


def test_search_by_text_by_image_and_by_id(client):
    answer = client.predict(
        text="a cat", gallery=GALLERY, models=["siglit-mini", "lit-mini"], top_k=2, api_name="/search"
    )
    assert ids(answer, 0)[0] == ids(answer, 1)[0] == "cat.jpg"
    assert [result["score_kind"] for result in answer["results"]] == ["probability", "cosine"]
    assert len(ids(answer)) == 2
    answer = client.predict(image=handle_file(CAT), gallery=GALLERY, api_name="/search")
    assert ids(answer)[0] == "cat.jpg"
    assert [result["model"] for result in answer["results"]] == ["siglit-mini"]
    answer = client.predict(
        like="cat.jpg", gallery=GALLERY, caption_contains="CAT", thumbnails=True, api_name="/search"
    )
    assert ids(answer) == ["cat.jpg"]
    thumbnail = answer["results"][0]["hits"][0]["thumbnail"].partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(thumbnail))).format == "JPEG"
    answer = client.predict(
        text="a lighthouse in a storm", gallery=GALLERY, min_score=0.999, api_name="/search"
    )
    assert "below the threshold" in answer["results"][0]["explanation"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "There is nothing to look for"),
        ({"text": "x", "gallery": "none"}, "There is no gallery 'none'"),
        ({"text": "x", "models": ["/etc"]}, "this server offers"),
        ({"text": "x", "top_k": 5000}, "at most 1,000 results"),
        ({"text": "x", "top_k": 1.5}, "whole number"),
        ({"text": "x", "top_k": "many"}, "must be a number"),
        ({"text": "x", "min_score": "high"}, "must be a number"),
        ({"text": "x", "thumbnails": "yes"}, "must be true or false"),
        ({"text": 7}, "'text' must be text"),
        ({"like": "none.jpg"}, "no image 'none.jpg'"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(client, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(**{"gallery": GALLERY, **arguments}, api_name="/search")


def test_the_state_of_one_gallery_or_of_all(client):
    (status,) = client.predict(gallery=GALLERY, api_name="/index_status")["galleries"]
    assert status["images"] == {"siglit-mini": 6, "lit-mini": 6}
    assert (status["job"]["state"], status["job"]["failed"]) == ("done", [])
    everything = client.predict(api_name="/index_status")["galleries"]
    assert {"demo", GALLERY} <= {each["id"] for each in everything}
    with pytest.raises(AppError, match="There is no gallery"):
        client.predict(gallery="none", api_name="/index_status")


@pytest.mark.anyio
async def test_mcp_tools_are_described_and_need_only_what_is_asked(address):
    async with (
        streamable_http_client(f"{address}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert "Search a gallery" in tools["search"].description
        assert "what they should not show" in json.dumps(tools["search"].inputSchema)
        assert not tools["search"].inputSchema.get("required")
        answer = await session.call_tool("search", {"text": "a cat", "gallery": GALLERY, "top_k": 1})
        assert ids(json.loads(answer.content[0].text)) == ["cat.jpg"]
        uri = f"data:image/jpeg;base64,{base64.b64encode(CAT.read_bytes()).decode()}"
        answer = await session.call_tool("search", {"image": uri, "gallery": GALLERY})
        assert ids(json.loads(answer.content[0].text))[0] == "cat.jpg"
        answer = await session.call_tool("index_status", {})
        assert json.loads(answer.content[0].text)["galleries"]
        refused = await session.call_tool("search", {"text": "x", "gallery": "none"})
        assert (refused.isError, "There is no gallery" in refused.content[0].text) == (True, True)
