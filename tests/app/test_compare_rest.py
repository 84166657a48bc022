"""POST /v1/compare, the endpoint /compare and the MCP tool, on a real server with the bundled pair."""

import base64
import json
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.app.photos import photos

pytestmark = pytest.mark.model
CAT, LABELS, _ = photos()[0].values
CAT_URI = f"data:image/jpeg;base64,{base64.b64encode(Path(CAT).read_bytes()).decode()}"


@pytest.fixture(scope="module")
def api(server):
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client


def compare(api, **body):
    answer = api.post("/v1/compare", json={"image": CAT_URI, "labels": LABELS.splitlines(), **body})
    assert answer.status_code == 200, answer.text
    return answer


def refused(api, status, **body):
    answer = api.post("/v1/compare", json={"image": CAT_URI, "labels": ["a cat"], **body})
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_columns_agree_with_classify(api):
    answer = compare(api)
    body = answer.json()
    classified = api.post("/v1/classify", json={"images": [CAT_URI], "labels": LABELS.splitlines()}).json()
    for column, result in zip(body["columns"], classified["data"][0]["results"], strict=True):
        assert column["model"] == result["model"]
        own = [each[column["score"]] for each in column["labels"]]
        assert own == pytest.approx([each["score"] for each in result["scores"]], abs=1e-6)
        assert [each["rank"] for each in column["labels"]] == list(range(1, 6))
    assert body["object"] == "comparison"
    assert body["failed"] == []
    assert "siglit-mini" in body["explanation"]
    assert len(body["label_set"]) == 5
    assert [spread["model"] for spread in body["template_spreads"]] == ["siglit-mini", "lit-mini"]
    assert "mistakes" not in body
    assert "infer" in answer.headers["server-timing"]


def test_templates_engines_distractor_and_mistakes(api):
    body = compare(
        api,
        models=["siglit-mini"],
        engines=["onnx-fp32", ""],
        templates=["{label}"],
        softmax_templates=["x {label}"],
        distractor="a tree",
        mistakes=True,
    ).json()
    (column,) = body["columns"]
    assert column["templates"] == ["{label}"]
    assert body["label_set"][-1]["label"] == "a tree"
    (report,) = body["mistakes"]
    assert [each["label"] for each in report["right"]] == [each["label"] for each in column["labels"]]
    assert {each["name"] for each in report["mistakes"]} >= {"bgr", "padding_unmasked", "attention_mask"}


def test_a_form_takes_one_file(api):
    form = {"labels": ["a cat", "a dog"], "mistakes": "true", "models": "lit-mini"}
    body = api.post("/v1/compare", files={"image": Path(CAT).read_bytes()}, data=form).json()
    assert body["columns"][0]["labels"][0]["label"] == "a cat"
    assert len(body["mistakes"]) == 1
    two = [("image", Path(CAT).read_bytes()), ("image", Path(CAT).read_bytes())]
    answer = api.post("/v1/compare", files=two, data=form)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "image")
    assert api.post("/v1/compare", files={"labels": (None, "a cat")}).json()["error"]["param"] == "image"


def test_a_single_column_says_that_there_is_nothing_to_compare(api):
    body = compare(api, models=["siglit-mini"], engines=["onnx-fp32"], labels=["a cat"]).json()
    assert body["explanation"].startswith("There is nothing to compare yet")


def test_what_cannot_be_used_is_refused_with_one_sentence(api):
    assert "this server offers" in refused(api, 404, models=["/etc"])["message"]
    assert "Unknown engine" in refused(api, 404, engines=["x"])["message"]
    assert refused(api, 422, image="data:image/png;base64,AAAA")["param"].startswith("image")
    assert "must contain" in refused(api, 400, templates=["x"])["message"]
    assert "no labels" in refused(api, 400, labels=[" "])["message"]
    assert "at most 50" in refused(api, 400, labels=[f"{n}" for n in range(51)], mistakes=True)["message"]
    assert refused(api, 422, label=["a"])["code"] == "invalid_parameter"


def test_openapi_describes_it(api):
    description = api.get("/openapi.json").json()
    content = description["paths"]["/v1/compare"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    properties = description["components"]["schemas"]["CompareBody"]["properties"]
    assert {"image", "labels", "models", "engines", "distractor", "mistakes"} <= set(properties)


def test_gradio_client_compares(server):
    client = Client(server, verbose=False)
    answer = client.predict(image=handle_file(CAT), labels="a cat, a dog", api_name="/compare")
    assert [column["model"] for column in answer["columns"]] == ["siglit-mini", "lit-mini"]
    with pytest.raises(AppError, match="There are no labels"):
        client.predict(image=handle_file(CAT), labels=" ", api_name="/compare")
    client.close()


@pytest.mark.anyio
async def test_the_mcp_tool_compares(server):
    async with (
        streamable_http_client(f"{server}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert "explains why the columns differ" in " ".join(tools["compare"].description.split())
        arguments = {"image": CAT_URI, "labels": "a cat, a dog", "mistakes": True, "models": ["siglit-mini"]}
        answer = json.loads((await session.call_tool("compare", arguments)).content[0].text)
    assert answer["columns"][0]["labels"][0]["label"] == "a cat"
    assert answer["mistakes"][0]["model"] == "siglit-mini"
