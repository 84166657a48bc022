"""Searching a gallery over the REST API of a real server."""

import base64
import io

import pytest
from PIL import Image

from tests.app.gallery_requests import BAD_URI, CAPTIONS, CAT, CAT_URI, IMAGES, add, ids, search

pytestmark = pytest.mark.model


def test_a_text_finds_what_it_describes_with_a_probability_from_a_sigmoid_model(gallery_api, album):
    answer = gallery_api.post(
        "/v1/search",
        json={
            "gallery": album,
            "query": {"text": "a cat"},
            "models": ["siglit-mini", "lit-mini"],
            "top_k": 3,
        },
    )
    siglit, lit = answer.json()["data"][0]["results"]
    assert (siglit["score_kind"], lit["score_kind"]) == ("probability", "cosine")
    assert ids(siglit)[0] == ids(lit)[0] == "cat.jpg"
    assert [hit["rank"] for hit in siglit["hits"]] == [1, 2, 3]
    first = siglit["hits"][0]
    assert set(first) == {
        "rank", "score", "cosine", "id", "caption", "width", "height", "content_hash", "duplicate_of",
    }  # fmt: skip
    assert (first["caption"], first["duplicate_of"]) == (CAPTIONS["cat.jpg"], "")
    assert 0.5 < first["score"] <= 1
    assert lit["hits"][0]["score"] == lit["hits"][0]["cosine"]
    assert (siglit["searched"], siglit["total"], siglit["exact"]) == (7, 7, True)
    assert "search" in answer.json()["timings_ms"]
    assert "search;dur=" in answer.headers["Server-Timing"]


def test_an_image_or_an_id_finds_itself_first(gallery_api, album):
    for query in ({"image": CAT_URI}, {"like": "cat.jpg"}):
        (result,) = search(gallery_api, album, query)
        assert ids(result)[0] == "cat.jpg"
        assert result["hits"][0]["cosine"] == pytest.approx(1, abs=1e-3)
        assert result["score_kind"] == "cosine"


def test_text_and_image_together_and_a_negative_text_change_the_order(gallery_api, album):
    (alone,) = search(gallery_api, album, {"image": CAT_URI})
    (both,) = search(gallery_api, album, {"image": CAT_URI, "text": "a rocket", "image_weight": 0.5})
    assert ids(alone).index("rocket.jpg") > ids(both).index("rocket.jpg")
    (plain,) = search(gallery_api, album, {"text": "an animal"})
    (without,) = search(gallery_api, album, {"text": "an animal", "negative": "a cat", "negative_weight": 2})
    assert ids(without).index("cat.jpg") > ids(plain).index("cat.jpg")


def test_a_batch_keeps_its_order_and_reports_bad_queries_in_place(gallery_api, album):
    queries = [{"text": "a rocket"}, {"image": BAD_URI}, {"like": "none.jpg"}, {}, {"image": CAT_URI}]
    answer = gallery_api.post("/v1/search", json={"gallery": album, "queries": queries, "top_k": 1})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [datum["index"] for datum in data] == [0, 1, 2, 3, 4]
    assert ids(data[0]["results"][0]) == ["rocket.jpg"]
    assert ids(data[4]["results"][0]) == ["cat.jpg"]
    errors = [data[place]["error"] for place in (1, 2, 3)]
    assert [error["param"] for error in errors] == ["queries[1].image", "queries[2]", "queries[3]"]
    assert [error["code"] for error in errors] == ["invalid_input", "unknown_index", "invalid_input"]


def test_filters_pages_and_a_threshold_narrow_the_results(gallery_api, album):
    (all_hits,) = search(gallery_api, album, {"text": "a cat"}, top_k=7)
    (second,) = search(gallery_api, album, {"text": "a cat"}, top_k=2, offset=2)
    assert ids(second) == ids(all_hits)[2:4]
    assert [hit["rank"] for hit in second["hits"]] == [3, 4]
    (captioned,) = search(gallery_api, album, {"text": "a cat"}, filter={"has_caption": True})
    assert set(ids(captioned)) == set(CAPTIONS)
    assert captioned["searched"] == 3
    (cup,) = search(gallery_api, album, {"text": "a cat"}, filter={"caption_contains": "cup"})
    assert ids(cup) == ["coffee.jpg"]
    (wide,) = search(gallery_api, album, {"text": "a cat"}, filter={"orientation": "landscape"})
    assert wide["hits"]
    assert all(hit["width"] > hit["height"] for hit in wide["hits"])
    (none,) = search(gallery_api, album, {"text": "a cat"}, filter={"min_width": 100_000})
    assert (none["hits"], "meets the filter" in none["explanation"]) == ([], True)
    (none,) = search(gallery_api, album, {"text": "a lighthouse in a storm"}, min_score=0.999)
    assert (none["hits"], "below the threshold" in none["explanation"]) == ([], True)


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({"text": "a cat"}, ["probability", "cosine"]),
        ({"text": "a cat", "negative": "a rocket"}, ["cosine", "cosine"]),
        ({"text": "a cat", "like": "rocket.jpg"}, ["cosine", "cosine"]),
        ({"like": "cat.jpg"}, ["cosine", "cosine"]),
    ],
)
def test_pages_hold_only_what_reaches_the_minimum_score_and_none_is_empty_before_the_last(
    gallery_api, album, query, kinds
):
    for model, kind in zip(("siglit-mini", "lit-mini"), kinds, strict=True):
        (all_hits,) = search(gallery_api, album, query, models=[model])
        assert (all_hits["score_kind"], len(all_hits["hits"])) == (kind, 7)
        third = all_hits["hits"][2]["score"]
        assert third > all_hits["hits"][3]["score"]
        pages = [
            search(gallery_api, album, query, models=[model], min_score=third, top_k=2, offset=offset)[0]
            for offset in (0, 2, 4)
        ]
        assert [page["hits"] for page in pages] == [all_hits["hits"][:2], all_hits["hits"][2:3], []]
        assert [page["has_more"] for page in pages] == [True, False, False]
        assert "only 3 images that reach the threshold" in pages[2]["explanation"]


def test_near_duplicates_are_counted_and_hidden_alike_for_each_model(gallery_api):
    small = io.BytesIO()
    with Image.open(CAT) as image:
        image.resize((image.width // 2, image.height // 2)).save(small, "JPEG")
    files = [
        ("cat.jpg", CAT.read_bytes()),
        ("copy.jpg", CAT.read_bytes()),
        ("small.jpg", small.getvalue()),
        ("rocket.jpg", (IMAGES / "rocket.jpg").read_bytes()),
    ]
    answer = add(gallery_api, "twins", files)
    assert (answer["job"]["added"], answer["job"]["duplicates"]) == (4, 2)  # and not for each model
    models = ["siglit-mini", "lit-mini"]
    for result in search(gallery_api, "twins", {"text": "a cat"}, models=models):
        owners = {hit["id"]: hit["duplicate_of"] for hit in result["hits"]}
        assert owners == {"cat.jpg": "", "copy.jpg": "cat.jpg", "small.jpg": "cat.jpg", "rocket.jpg": ""}
    hidden = {"hide_duplicates": True}
    for result in search(gallery_api, "twins", {"text": "a cat"}, models=models, filter=hidden):
        assert len(result["hits"]) == 2
        assert result["hits"][0]["id"] in ("cat.jpg", "copy.jpg", "small.jpg")  # the best of them
        assert (result["hits"][1]["id"], result["searched"]) == ("rocket.jpg", 4)
    hidden |= {"id_prefix": "s"}  # the first of them is none of those
    for result in search(gallery_api, "twins", {"text": "a cat"}, models=models, filter=hidden):
        assert (ids(result), result["searched"]) == (["small.jpg"], 1)


def test_thumbnails_are_small_jpegs_when_they_are_wanted(gallery_api, album):
    (result,) = search(gallery_api, album, {"text": "a cat"}, thumbnails=True, top_k=2)
    for hit in result["hits"]:
        kind, _, data = hit["thumbnail"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert max(image.size) == 256


def test_texts_are_found_for_an_image_among_some_or_among_the_captions(gallery_api, album):
    texts = ["a dog", "a cat", "a bus"]
    (result,) = search(gallery_api, album, {"image": CAT_URI}, find="texts", texts=texts)
    assert [hit["rank"] for hit in result["hits"]] == [1, 2, 3]
    assert result["hits"][0]["text"] == "a cat"
    (result,) = search(gallery_api, album, {"image": CAT_URI}, find="texts", top_k=1)
    assert [hit["text"] for hit in result["hits"]] == [CAPTIONS["cat.jpg"]]
    assert (result["compared"], result["left_out"]) == (3, 0)


def test_a_form_brings_files_and_the_fields_of_query_and_filter(gallery_api, album):
    form = {"gallery": album, "top_k": "1", "has_caption": "true", "models": ["lit-mini", "siglit-mini"]}
    files = [("image", ("a.jpg", (IMAGES / name).read_bytes())) for name in ("cat.jpg", "rocket.jpg")]
    answer = gallery_api.post("/v1/search", data=form, files=files).json()
    assert answer["models"] == ["lit-mini", "siglit-mini"]
    assert [ids(datum["results"][0]) for datum in answer["data"]] == [["cat.jpg"], ["rocket.jpg"]]
    fields = [("gallery", (None, album)), ("text", (None, "a rocket")), ("image", (None, CAT_URI))]
    answer = gallery_api.post("/v1/search", files=fields)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 422, "give one `query`, or a list of `queries`"),
        ({"query": {"text": "x"}, "queries": [{"text": "x"}]}, 422, "give one `query`"),
        ({"query": {}}, 400, "There is nothing to look for"),
        ({"query": {"text": " "}}, 400, "There is nothing to look for"),
        ({"query": {"txet": "x"}}, 422, "'query"),
        ({"query": {"text": "x" * 10_001}}, 400, "10,001 characters"),
        ({"query": {"text": "x"}, "top_k": 1001}, 422, "less than or equal to 1000"),
        ({"query": {"text": "x"}, "top_k": 600, "offset": 600}, 400, "at most 1,000 results"),
        ({"query": {"text": "x"}, "top_k": 0}, 422, "'top_k'"),
        ({"query": {"text": "x", "text_weight": -1}}, 422, "'query"),
        ({"query": {"text": "x", "text_weight": 0}}, 400, "cancel each other out"),
        ({"query": {"text": "x"}, "filter": {"orientation": "round"}}, 422, "'filter"),
        ({"query": {"text": "x"}, "gallery": "none"}, 404, "There is no gallery 'none'; there are demo"),
        ({"query": {"text": "x"}, "gallery": "../album"}, 404, "There is no gallery"),
        ({"query": {"text": "x"}, "models": ["/etc"]}, 404, "offers siglit-mini, lit-mini"),
        ({"query": {"like": "none.jpg"}}, 404, "no image 'none.jpg'"),
        ({"query": {"like": "cat.jpg", "image": CAT_URI}}, 400, "not both"),
        ({"query": {"image": BAD_URI}}, 422, "query.image: The image is not a JPEG"),
        ({"query": {"image": "/etc/passwd"}}, 422, "query.image"),
        ({"query": {"image": "http://127.0.0.1/a.png"}}, 422, "URLs are not fetched"),
        ({"query": {"text": "x"}, "texts": ["y"]}, 422, "finding texts"),
        ({"query": {"text": "x"}, "find": "texts"}, 422, "an `image` and nothing else"),
        ({"query": {"image": CAT_URI}, "find": "texts", "offset": 1}, 422, "finding images"),
        ({"query": {"image": CAT_URI}, "find": "texts", "texts": ["a", ""]}, 422, "texts[1]"),
        ({"queries": [{"text": "x"}] * 2049, "top_k": 1}, 413, "2,049 queries"),
        ({"queries": [{"image": CAT_URI}] * 65}, 413, "65 images"),
        ({"queries": [{"text": "x"}] * 11, "top_k": 1000}, 413, "at most 10,000"),
        ({"query": {"text": "x"}, "top_k": 1000, "thumbnails": True, "models": ["siglit-mini", "lit-mini"]},
         413, "at most 1,000"),
    ],
)  # fmt: skip
def test_bad_searches_get_a_sentence(gallery_api, album, body, status, sentence):
    answer = gallery_api.post("/v1/search", json={"gallery": album, **body})
    assert (answer.status_code, sentence in answer.json()["error"]["message"]) == (status, True), answer.text
