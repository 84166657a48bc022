"""Real client libraries against a real server: openai, gradio_client, mcp."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import openai
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.app.photos import photos

pytestmark = pytest.mark.model
CAT = photos()[0].values[0]
CAT_URI = f"data:image/jpeg;base64,{base64.b64encode(Path(CAT).read_bytes()).decode()}"
DIM = 384

# Names and parameters that programs rely on: a change here is a breaking change.
ENDPOINTS = {
    "/zero_shot": ["image", "labels", "template", "models", "engine"],
    "/embed_image": ["image", "model", "engine"],
    "/embed_text": ["texts", "model", "engine"],
    "/list_models": [],
    "/search": [
        "text", "image", "negative", "like", "gallery", "models", "engine", "top_k", "min_score",
        "caption_contains", "hide_duplicates", "thumbnails",
    ],
    "/index_status": ["gallery"],
    "/compare": [
        "image", "labels", "models", "engines", "sigmoid_templates", "softmax_templates", "distractor",
        "mistakes",
    ],
}  # fmt: skip


def test_the_openai_client_works_unchanged(server):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="unused") as client:
        answer = client.embeddings.create(model="siglit-mini", input=["a cat", CAT_URI, "a dog"])
        cat, image, dog = (np.array(datum.embedding) for datum in answer.data)
        assert image @ cat > image @ dog
        assert len(client.embeddings.create(model="lit-mini", input="x", dimensions=8).data[0].embedding) == 8
        assert [model.id for model in client.models.list()] == ["siglit-mini", "lit-mini"]
        with pytest.raises(openai.NotFoundError, match="this server offers"):
            client.embeddings.create(model="gpt", input="x")
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            client.embeddings.create(model="siglit-mini", input=["x", "data:image/png;base64,AAAA"])
        assert caught.value.param == "input[1]"


def test_endpoints_keep_their_names_and_parameters(server):
    client = Client(server, verbose=False)
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    named = {
        name: [parameter["parameter_name"] for parameter in endpoint["parameters"]]
        for name, endpoint in endpoints.items()
    }
    assert named == ENDPOINTS
    client.close()


def test_gradio_client_embeds_images_and_texts(server):
    client = Client(server, verbose=False)
    image = client.predict(image=handle_file(CAT), model="lit-mini", engine="", api_name="/embed_image")
    texts = client.predict(texts="a cat\na dog", model="lit-mini", engine="", api_name="/embed_text")
    cat, dog = np.array(texts["embeddings"]) @ np.array(image["embedding"])
    assert cat > dog
    assert image["dim"] == DIM
    assert [model["id"] for model in client.predict(api_name="/list_models")["models"]] == [
        "siglit-mini",
        "lit-mini",
    ]
    with pytest.raises(AppError, match="The text is empty"):
        client.predict(texts=" ", model="", engine="", api_name="/embed_text")
    client.close()


@pytest.mark.anyio
async def test_mcp_tools_are_described_and_answer(server):
    address = f"{server}/gradio_api/mcp/"
    async with (
        streamable_http_client(address) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert {name.removeprefix("/") for name in ENDPOINTS} <= set(tools)
        assert "unit vector" in tools["embed_text"].description
        assert "one text a line" in json.dumps(tools["embed_text"].inputSchema)
        for tool in tools.values():  # Gradio takes the first line of what a docstring says of a parameter
            for name, parameter in tool.inputSchema["properties"].items():
                assert re.search(r"(\.|\.\.\.)$", parameter["description"]), (tool.name, name)
        arguments = {"texts": "a cat", "model": "", "engine": ""}
        answer = json.loads((await session.call_tool("embed_text", arguments)).content[0].text)
        assert len(answer["embeddings"][0]) == DIM
        arguments = dict(image=CAT_URI, labels="a cat, a dog", template="", models=["siglit-mini"], engine="")
        answer = json.loads((await session.call_tool("zero_shot", arguments)).content[0].text)
        assert answer["results"][0]["scores"][0]["label"] == "a cat"
        refused = await session.call_tool("embed_text", {"texts": "x", "model": "/etc", "engine": ""})
        assert refused.isError
        assert "this server offers" in refused.content[0].text
