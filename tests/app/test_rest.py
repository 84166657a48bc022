"""The REST API of a real server with the bundled pair."""

import base64
import io
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load

from tests.app.photos import photos
from tests.images import encode, png_header

pytestmark = pytest.mark.model
CAT, LABELS, _ = photos()[0].values
DIM = 384
STAGES = {"decode", "preprocess", "tokenize", "queue", "infer", "post"}


def data_uri(data, kind="jpeg"):
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


CAT_URI = data_uri(Path(CAT).read_bytes())
BAD_URI = data_uri(b"only words")


@pytest.fixture(scope="module")
def api(server):
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client


def embed(api, items, **options):
    answer = api.post("/v1/embeddings", json={"input": items, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "item",
    [
        CAT_URI,
        {"image": CAT_URI},
        {"image": CAT_URI.partition(",")[2]},
        {
            "image": base64.encodebytes(Path(CAT).read_bytes()).decode()
        },  # in lines, as the command base64 writes it
        {"type": "image_url", "image_url": {"url": CAT_URI, "detail": "low"}},
        {"type": "image_url", "image_url": CAT_URI},
    ],
)
def test_an_image_may_come_in_any_of_the_usual_forms(api, item):
    (datum,) = embed(api, item)["data"]
    assert datum["modality"] == "image"
    expected = embed(api, [CAT_URI])["data"][0]["embedding"]
    np.testing.assert_allclose(datum["embedding"], expected, atol=1e-5)


def test_texts_and_images_keep_their_order_and_say_what_they_are(api):
    answer = embed(api, ["a cat", CAT_URI, {"text": "a dog"}, {"type": "text", "text": "a cat"}])
    assert [datum["modality"] for datum in answer["data"]] == ["text", "image", "text", "text"]
    assert [datum["index"] for datum in answer["data"]] == [0, 1, 2, 3]
    rows = np.array([datum["embedding"] for datum in answer["data"]], np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[0], rows[3])
    assert rows[1] @ rows[0] > rows[1] @ rows[2]
    assert (answer["model"], answer["engine"], answer["dim"]) == ("siglit-mini", "onnx-fp32", DIM)
    assert answer["normalized"] is True
    assert answer["usage"]["prompt_tokens"] > 0


def test_base64_is_float32_and_dimensions_are_cut_and_scaled_again(api):
    plain = np.array(embed(api, ["a red bus"])["data"][0]["embedding"], np.float32)
    encoded = embed(api, ["a red bus"], encoding_format="base64")["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(encoded), "<f4"), plain)
    short = np.array(embed(api, ["a red bus"], dimensions=8)["data"][0]["embedding"], np.float32)
    np.testing.assert_allclose(short, plain[:8] / np.linalg.norm(plain[:8]), rtol=1e-5)
    form = {"dimensions": (None, "8"), "input": (None, "a red bus")}
    by_form = api.post("/v1/embeddings", files=form).json()["data"][0]["embedding"]
    np.testing.assert_array_equal(np.array(by_form, np.float32), short)
    refused = api.post("/v1/embeddings", files=form | {"dimensions": (None, "eight")})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "dimensions")


def test_files_come_as_a_multipart_form_too(api):
    files = [("file", ("cat.jpg", Path(CAT).read_bytes())), ("input", (None, "a cat"))]
    answer = api.post("/v1/embeddings", files=files, data={"model": "lit-mini"}).json()
    assert [datum["modality"] for datum in answer["data"]] == ["image", "text"]
    assert answer["model"] == "lit-mini"
    form = {"labels": ["a cat", "a dog"], "models": "lit-mini"}
    answer = api.post("/v1/classify", files={"images": Path(CAT).read_bytes()}, data=form).json()
    assert answer["data"][0]["results"][0]["scores"][0]["label"] == "a cat"


def test_a_repeated_request_comes_from_the_cache_and_says_so(api):
    noise = np.random.default_rng(5).integers(0, 255, (40, 40, 3), np.uint8)
    item = data_uri(encode(Image.fromarray(noise), "PNG"), "png")
    assert embed(api, [item])["cached"] is False
    assert embed(api, [item])["cached"] is True
    assert embed(api, [item, "never seen before, with noise"])["cached"] is False


def test_long_texts_are_reported_as_truncated(api):
    answer = embed(api, ["a cat", "cat " * 500])
    assert [datum["truncated"] for datum in answer["data"]] == [False, True]
    assert answer["truncated"] is True


def test_classify_scores_each_image_with_each_model_and_reports_bad_ones_in_place(api):
    images = [CAT_URI, BAD_URI, {"image": CAT_URI}]
    answer = api.post("/v1/classify", json={"images": images, "labels": LABELS.splitlines()})
    assert answer.status_code == 200
    body = answer.json()
    assert body["models"] == ["siglit-mini", "lit-mini"]
    for index in (0, 2):
        siglit, lit = body["data"][index]["results"]
        assert siglit["scores"][0]["label"] == lit["scores"][0]["label"] == "a cat"
        assert set(siglit["scores"][0]) == {"label", "score", "cosine", "logit"}
        assert sum(score["score"] for score in lit["scores"]) == pytest.approx(1, abs=1e-4)
    assert "is not a JPEG" in body["data"][1]["error"]["message"]
    assert body["data"][1]["error"]["param"] == "images[1]"
    assert set(body["timings_ms"]) >= STAGES
    assert "infer;dur=" in answer.headers["Server-Timing"]
    assert answer.headers["X-Request-ID"]


def test_similarity_is_the_matrix_of_images_and_texts(api):
    body = {"images": [CAT_URI, CAT_URI], "texts": ["a cat", "a dog", "a bus"], "model": "lit-mini"}
    answer = api.post("/v1/similarity", json=body).json()
    cosines, scores = np.array(answer["cosines"]), np.array(answer["scores"])
    assert cosines.shape == scores.shape == (2, 3)
    assert (cosines.argmax(axis=1) == 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    image, text = (datum["embedding"] for datum in embed(api, [CAT_URI, "a cat"], model="lit-mini")["data"])
    assert cosines[0, 0] == pytest.approx(np.dot(image, text), abs=1e-5)


def test_features_come_as_base64_npy_or_safetensors(api):
    body = {"images": [CAT_URI, CAT_URI]}
    answer = api.post("/v1/features", json=body).json()
    features = np.frombuffer(base64.b64decode(answer["features"]), "<f4").reshape(answer["shape"])
    assert features.ndim == 3
    assert len(features) == 2
    npy = api.post("/v1/features", json=body | {"format": "npy"})
    np.testing.assert_allclose(
        np.load(io.BytesIO(npy.content), allow_pickle=False), features, atol=1e-3, rtol=1e-3
    )
    assert npy.headers["X-Model"] == "siglit-mini"
    tensors = load(api.post("/v1/features", json=body | {"format": "safetensors"}).content)
    np.testing.assert_allclose(tensors["features"], features, atol=1e-3, rtol=1e-3)


def test_models_are_listed_with_their_engines(api):
    listed = api.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["siglit-mini", "lit-mini"]
    assert listed[0] == api.get("/v1/models/siglit-mini").json()
    engines = {engine["name"]: engine for engine in listed[0]["engines"]}
    assert engines["onnx-fp32"]["loaded"]
    assert "onnx-int8-dynamic" in engines
    assert (listed[0]["dim"], listed[0]["default_engine"]) == (DIM, "onnx-fp32")


def test_health_readiness_and_metrics(api):
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz").json()
    assert ready["status"] == "ready"
    assert {engine["model"] for engine in ready["engines"]} == {"siglit-mini", "lit-mini"}
    assert all(engine["canary_age_s"] < 120 for engine in ready["engines"])
    embed(api, ["something to count"])
    metrics = api.get("/metrics").text
    for name in (
        'siglip_requests_total{door="rest",operation="embeddings",outcome="ok"}',
        'siglip_stage_seconds_bucket{engine="onnx-fp32",le="0.001",model="siglit-mini",stage="tokenize"}',
        'siglip_batch_size_count{engine="onnx-fp32",model="siglit-mini",tower="text"}',
        'siglip_queue_depth{engine="onnx-fp32",model="siglit-mini",tower="image"}',
        "siglip_cache_hits_total",
        "siglip_resident_memory_bytes",
    ):
        assert name in metrics


def test_the_api_is_described_with_examples(api):
    description = api.get("/openapi.json").json()
    assert {"/v1/embeddings", "/v1/classify", "/v1/similarity", "/v1/features", "/readyz"} <= set(
        description["paths"]
    )
    schemas = description["components"]["schemas"]
    assert schemas["EmbeddingsBody"]["examples"]
    for name in set(json.dumps(description).split('"#/components/schemas/')[1:]):
        assert name.partition('"')[0] in schemas
    assert api.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("embeddings", {"input": []}, 422, "is empty"),
        ("embeddings", {"input": [""]}, 422, "The text is empty"),
        ("embeddings", {}, 422, "'input'"),
        ("embeddings", {"input": [1, 2, 3]}, 422, "token ids are not accepted"),
        ("embeddings", {"input": ["a", BAD_URI]}, 422, "input[1]: The image is not a JPEG"),
        ("embeddings", {"input": ["data:image/png,raw"]}, 422, "must hold base64"),
        ("embeddings", {"input": [{"image": "not base64!"}]}, 422, "neither a data URI nor base64"),
        ("embeddings", {"input": [{"image": "/etc/passwd"}]}, 422, "input[0]"),
        ("embeddings", {"input": [{"image": "http://127.0.0.1/a.png"}]}, 422, "URLs are not fetched"),
        ("embeddings", {"input": [{"image": "file:///etc/passwd"}]}, 422, "input[0]"),
        ("embeddings", {"input": ["x" * 10_001]}, 422, "10,001 characters"),
        ("embeddings", {"input": ["x"] * 2049}, 413, "2,049 texts; at most 2,048"),
        ("embeddings", {"input": [CAT_URI] * 65}, 413, "65 images; at most 64"),
        ("embeddings", {"input": "x", "model": "/etc"}, 404, "offers siglit-mini, lit-mini"),
        ("embeddings", {"input": "x", "engine": "tensorrt"}, 404, "Unknown engine"),
        ("embeddings", {"input": "x", "dimensions": 999}, 400, "from 1 to"),
        ("embeddings", {"input": "x", "encoding_format": "int8"}, 422, "'encoding_format'"),
        ("classify", {"images": [CAT_URI], "labels": []}, 422, "'labels'"),
        ("classify", {"images": [CAT_URI], "labels": [" "]}, 400, "no labels"),
        ("classify", {"images": [CAT_URI], "labels": ["a"] * 2 + list(map(str, range(1001)))}, 400, "labels"),
        ("classify", {"images": [CAT_URI], "label": ["a"]}, 422, "'label"),
        ("classify", {"images": [CAT_URI], "labels": ["a"], "templates": ["x"]}, 400, "{label}"),
        ("classify", {"images": [BAD_URI], "labels": ["a"]}, 422, "images[0]: The image is not"),
        ("classify", {"images": [], "labels": ["a"]}, 422, "'images'"),
        ("similarity", {"images": [CAT_URI, BAD_URI], "texts": ["a"]}, 422, "images[1]"),
        ("similarity", {"images": [CAT_URI], "texts": ["a"] * 2049}, 413, "2,049 texts"),
        ("similarity", {"images": [CAT_URI], "texts": ["a", ""]}, 422, "texts[1]: The text is empty"),
        ("embeddings", {"input": ["a", {"txet": "a"}]}, 422, "input[1]"),
        ("embeddings", {"input": "x", "model": "m" * 100_000}, 404, "Unknown model"),
        ("embeddings", {"input": "x", "dimensions": True}, 422, "'dimensions'"),
        ("features", {"images": [CAT_URI], "format": "pickle"}, 422, "'format'"),
        ("features", {"images": [data_uri(png_header(10_000, 10_000), "png")]}, 422, "million pixels"),
    ],
)
def test_bad_requests_get_a_sentence_and_the_next_request_works(api, path, body, status, sentence):
    answer = api.post(f"/v1/{path}", json=body)
    assert (answer.status_code, sentence in answer.json()["error"]["message"]) == (status, True), answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert len(embed(api, "the next one")["data"]) == 1


def test_a_body_that_is_no_json_is_refused(api):
    json_type = {"content-type": "application/json"}
    assert api.post("/v1/embeddings", content=b"{", headers=json_type).status_code == 400
    assert api.post("/v1/embeddings", content=b"[" * 100_000, headers=json_type).status_code == 400
    assert api.post("/v1/embeddings", content=b"x", headers={"content-type": "text/csv"}).status_code == 415
    assert api.post("/v1/embeddings", content=b"[1]", headers=json_type).status_code == 422


@pytest.mark.parametrize("kind", ["input", "file"])
def test_a_form_keeps_the_order_of_its_fields(api, kind):
    cat, text = ("file", ("cat.jpg", Path(CAT).read_bytes())), ("input", (None, "a cat"))
    files = [text, cat, text] if kind == "input" else [cat, text, cat]
    answer = api.post("/v1/embeddings", files=files).json()
    expected = {"input": ["text", "image", "text"], "file": ["image", "text", "image"]}[kind]
    assert [datum["modality"] for datum in answer["data"]] == expected
    refused = api.post("/v1/classify", files={"labels": Path(CAT).read_bytes()})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "labels")


def test_the_images_of_one_request_are_limited_together(api):
    ribbon = data_uri(encode(Image.new("1", (60_000, 1_039)), "PNG"), "png")  # cannot be shrunk
    other = data_uri(encode(Image.new("1", (60_000, 1_039), 1), "PNG"), "png")
    third = data_uri(encode(Image.new("1", (60_000, 1_038), 1), "PNG"), "png")
    answer = api.post("/v1/similarity", json={"images": [ribbon, other, third], "texts": ["a"]})
    assert answer.status_code == 422
    assert "128 million pixels together" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/embeddings", 405),
        ("OPTIONS", "/v1/embeddings", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/", 404),
        ("HEAD", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("HEAD", "/metrics", 200),
    ],
)
def test_wrong_routes_and_methods_get_an_error_body_too(api, method, path, status):
    answer = api.request(method, path)
    assert answer.status_code == status
    if status == 405:
        assert answer.headers["Allow"]
    if status > 200:
        assert answer.json()["error"]["code"] in ("method_not_allowed", "unknown_route")


def test_null_stands_for_a_default_as_some_clients_send_it(api):
    answer = embed(api, "x", model=None, encoding_format=None, dimensions=None)
    assert answer["model"] == "siglit-mini"


def test_the_description_s_page_needs_no_other_site(api):
    page = api.get("/docs").text
    assert "https://" not in page
    assert api.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_refusals_are_counted_by_status(api):
    api.post("/v1/embeddings", json={"input": []})
    assert 'siglip_http_responses_total{route="/v1/embeddings",status="422"}' in api.get("/metrics").text


def test_an_error_has_one_name_however_it_left(api):
    api.post("/v1/embeddings", json={"input": [BAD_URI]})  # as one of many items
    api.post("/v1/features", json={"images": [CAT_URI], "engine": "onnx-int8-dynamic"})
    outcomes = set(re.findall(r'siglip_requests_total{.*?outcome="(\w+)"}', api.get("/metrics").text))
    assert "invalid_input" in outcomes
    assert all(outcome == outcome.lower() for outcome in outcomes)


def test_an_unknown_parameter_is_told_what_there_is(api):
    answer = api.post("/v1/classify", json={"images": [CAT_URI], "labels": ["a"], "model": "siglit-mini"})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "model"
    assert "no such parameter here, only images, labels, templates, models, engine" in answer.text


def test_an_unknown_model_is_not_found(api):
    answer = api.get("/v1/models/google/none")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_model")
