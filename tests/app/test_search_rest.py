"""Galleries over the REST API of a real server: filled, searched and emptied."""

import base64
import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image

from engines.gallery import GALLERY_DIR
from tests.app.processes import running
from tests.images import encode

pytestmark = pytest.mark.model
IMAGES = GALLERY_DIR / "images"
NAMES = ("cat.jpg", "running-cat.jpg", "rocket.jpg", "coffee.jpg", "bananas.png", "astronaut.jpg", "bed.png")
CAPTIONS = {"cat.jpg": "A cat looks at you.", "rocket.jpg": "A rocket lifts off.", "coffee.jpg": "A CUP."}
CAT = IMAGES / "cat.jpg"
CAT_URI = f"data:image/jpeg;base64,{base64.b64encode(CAT.read_bytes()).decode()}"
BAD_URI = f"data:image/jpeg;base64,{base64.b64encode(b'only words').decode()}"


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with running(tmp_path_factory.mktemp("galleries"), "--max-queue-size", "4096") as process:
        yield process


@pytest.fixture(scope="module")
def api(process):
    with httpx.Client(base_url=process.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def album(api):
    """Fill a gallery; return its name."""
    answer = add(api, "album", [(name, (IMAGES / name).read_bytes()) for name in NAMES], captions=CAPTIONS)
    assert (answer["images"], answer["job"]["state"]) == ({"siglit-mini": 7, "lit-mini": 7}, "done")
    return "album"


def post_images(api, gallery, files, **fields):
    form = {"gallery": gallery, "wait": "true", **fields}
    form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in form.items()}
    return api.post("/v1/index", data=form, files=[("files", file) for file in files])


def add(api, gallery, files, **fields):
    answer = post_images(api, gallery, files, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def search(api, gallery, query, **options):
    answer = api.post("/v1/search", json={"gallery": gallery, "query": query, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]["results"]


def ids(result):
    return [hit["id"] for hit in result["hits"]]


def picture(seed):
    return encode(Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)), "PNG")


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def failures(answer):
    return {failed["id"]: failed["reason"] for failed in answer["job"]["failed"]}


def test_a_text_finds_what_it_describes_with_a_probability_from_a_sigmoid_model(api, album):
    answer = api.post(
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


def test_an_image_or_an_id_finds_itself_first(api, album):
    for query in ({"image": CAT_URI}, {"like": "cat.jpg"}):
        (result,) = search(api, album, query)
        assert ids(result)[0] == "cat.jpg"
        assert result["hits"][0]["cosine"] == pytest.approx(1, abs=1e-3)
        assert result["score_kind"] == "cosine"


def test_text_and_image_together_and_a_negative_text_change_the_order(api, album):
    (alone,) = search(api, album, {"image": CAT_URI})
    (both,) = search(api, album, {"image": CAT_URI, "text": "a rocket", "image_weight": 0.5})
    assert ids(alone).index("rocket.jpg") > ids(both).index("rocket.jpg")
    (plain,) = search(api, album, {"text": "an animal"})
    (without,) = search(api, album, {"text": "an animal", "negative": "a cat", "negative_weight": 2})
    assert ids(without).index("cat.jpg") > ids(plain).index("cat.jpg")


def test_a_batch_keeps_its_order_and_reports_bad_queries_in_place(api, album):
    queries = [{"text": "a rocket"}, {"image": BAD_URI}, {"like": "none.jpg"}, {}, {"image": CAT_URI}]
    answer = api.post("/v1/search", json={"gallery": album, "queries": queries, "top_k": 1})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [datum["index"] for datum in data] == [0, 1, 2, 3, 4]
    assert ids(data[0]["results"][0]) == ["rocket.jpg"]
    assert ids(data[4]["results"][0]) == ["cat.jpg"]
    errors = [data[place]["error"] for place in (1, 2, 3)]
    assert [error["param"] for error in errors] == ["queries[1].image", "queries[2]", "queries[3]"]
    assert [error["code"] for error in errors] == ["invalid_input", "unknown_index", "invalid_input"]


def test_filters_pages_and_a_threshold_narrow_the_results(api, album):
    (all_hits,) = search(api, album, {"text": "a cat"}, top_k=7)
    (second,) = search(api, album, {"text": "a cat"}, top_k=2, offset=2)
    assert ids(second) == ids(all_hits)[2:4]
    assert [hit["rank"] for hit in second["hits"]] == [3, 4]
    (captioned,) = search(api, album, {"text": "a cat"}, filter={"has_caption": True})
    assert set(ids(captioned)) == set(CAPTIONS)
    assert captioned["searched"] == 3
    (cup,) = search(api, album, {"text": "a cat"}, filter={"caption_contains": "cup"})
    assert ids(cup) == ["coffee.jpg"]
    (wide,) = search(api, album, {"text": "a cat"}, filter={"orientation": "landscape"})
    assert wide["hits"]
    assert all(hit["width"] > hit["height"] for hit in wide["hits"])
    (none,) = search(api, album, {"text": "a cat"}, filter={"min_width": 100_000})
    assert (none["hits"], "meets the filter" in none["explanation"]) == ([], True)
    (good,) = search(api, album, {"text": "a cat"}, min_score=0.5)
    assert ids(good)[0] == "cat.jpg"
    (none,) = search(api, album, {"text": "a lighthouse in a storm"}, min_score=0.999)
    assert (none["hits"], "below the threshold" in none["explanation"]) == ([], True)


def test_thumbnails_are_small_jpegs_when_they_are_wanted(api, album):
    (result,) = search(api, album, {"text": "a cat"}, thumbnails=True, top_k=2)
    for hit in result["hits"]:
        kind, _, data = hit["thumbnail"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert max(image.size) == 256


def test_texts_are_found_for_an_image_among_some_or_among_the_captions(api, album):
    texts = ["a dog", "a cat", "a bus"]
    (result,) = search(api, album, {"image": CAT_URI}, find="texts", texts=texts)
    assert [hit["rank"] for hit in result["hits"]] == [1, 2, 3]
    assert result["hits"][0]["text"] == "a cat"
    (result,) = search(api, album, {"image": CAT_URI}, find="texts", top_k=1)
    assert [hit["text"] for hit in result["hits"]] == [CAPTIONS["cat.jpg"]]


def test_a_form_brings_files_and_the_fields_of_query_and_filter(api, album):
    form = {"gallery": album, "top_k": "1", "has_caption": "true", "models": ["lit-mini", "siglit-mini"]}
    files = [("image", ("a.jpg", (IMAGES / name).read_bytes())) for name in ("cat.jpg", "rocket.jpg")]
    answer = api.post("/v1/search", data=form, files=files).json()
    assert answer["models"] == ["lit-mini", "siglit-mini"]
    assert [ids(datum["results"][0]) for datum in answer["data"]] == [["cat.jpg"], ["rocket.jpg"]]
    fields = [("gallery", (None, album)), ("text", (None, "a rocket")), ("image", (None, CAT_URI))]
    answer = api.post("/v1/search", files=fields)
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
def test_bad_searches_get_a_sentence(api, album, body, status, sentence):
    answer = api.post("/v1/search", json={"gallery": album, **body})
    assert (answer.status_code, sentence in answer.json()["error"]["message"]) == (status, True), answer.text


def test_galleries_are_listed_and_described(api, album):
    listed = api.get("/v1/index").json()
    galleries = {each["id"]: each for each in listed["data"]}
    assert listed["may_change"] is True
    assert galleries["demo"]["images"] == {}
    assert galleries[album]["images"] == {"siglit-mini": 7, "lit-mini": 7}
    assert "failed" not in galleries[album]["job"]
    described = api.get(f"/v1/index/{album}").json()
    assert described["job"]["failed"] == []
    assert described["job"]["images_per_s"] > 0
    assert api.get("/v1/index/none").status_code == 404


def test_a_file_that_is_no_image_is_listed_and_the_others_are_added(api):
    files = [
        ("good.png", picture(1)),
        ("bad.png", b"only words"),
        ("empty.png", b""),
        ("cut.jpg", CAT.read_bytes()[:5000]),
    ]
    answer = add(api, "mixed", files)
    assert answer["images"] == {"siglit-mini": 1, "lit-mini": 1}
    assert set(failures(answer)) == {"bad.png", "empty.png", "cut.jpg"}
    assert "is not a JPEG" in failures(answer)["bad.png"]
    assert answer["job"]["num_failed"] == 3
    again = add(api, "mixed", files)["job"]
    assert (again["added"], again["unchanged"]) == (0, 1)


def test_names_are_kept_without_their_folders_and_told_apart(api):
    names = [
        "käfer 🐈‍⬛ it's.png",
        'so "quoted".png',
        "../../etc/up.png",
        "C:\\me\\win.png",
        "same.png",
        "same.png",
    ]
    answer = add(api, "names", [(name, picture(place)) for place, name in enumerate(names)])
    assert answer["job"]["added"] == len(names)
    (result,) = search(api, "names", {"text": "noise"})
    found = set(ids(result))
    assert {names[0], names[1], "up.png", "win.png", "same.png"} < found
    (other,) = found - {names[0], names[1], "up.png", "win.png", "same.png"}
    assert other.startswith("same-")
    for name in found:
        (liked,) = search(api, "names", {"like": name}, top_k=1)
        assert ids(liked) == [name]
        removed = api.delete(f"/v1/index/names/images/{quote(name)}")
        assert (removed.status_code, removed.json()["id"]) == (200, name)
    assert api.get("/v1/index/names").json()["images"] == {"siglit-mini": 0, "lit-mini": 0}


def test_a_zip_archive_brings_folders_captions_and_no_danger(api):
    archive = zipped(
        {
            "trip/a.png": picture(1),
            "trip/a.txt": "the first day",
            "trip/notes.txt": "no picture",
            "../../evil.png": picture(2),
            "bomb.png": bytes(40_000_000),
            "broken.png": b"\x89PNG\r\n\x1a\nand no more",
        }
    )
    answer = add(api, "trip", [("trip.zip", archive)])
    assert answer["images"]["siglit-mini"] == 1
    reasons = failures(answer)
    assert "leads out of the archive" in reasons["../../evil.png"]
    assert "compressed too much" in reasons["bomb.png"]
    assert set(reasons) == {"../../evil.png", "bomb.png", "broken.png"}
    (result,) = search(api, "trip", {"text": "noise"}, filter={"id_prefix": "trip/"})
    assert [(hit["id"], hit["caption"]) for hit in result["hits"]] == [("trip/a.png", "the first day")]
    later = add(api, "trip", [("trip.zip", zipped({"b.png": picture(3)}))], remove_missing="true")
    assert (later["job"]["added"], later["job"]["removed"]) == (1, 1)
    assert api.delete("/v1/index/trip/images/trip%2Fa.png").status_code == 404
    assert api.delete("/v1/index/trip/images/b.png").status_code == 200


@pytest.mark.parametrize(
    ("gallery", "files", "fields", "status", "sentence"),
    [
        ("new", [], {}, 400, "There are no files"),
        ("new", [("a.txt", b"words"), ("b.txt", b"words")], {}, 400, "2 files, none of them an image"),
        ("new", [("a.zip", b"no zip")], {}, 400, "'a.zip' is no zip archive"),
        ("new", [("a.zip", zipped({}))], {}, 400, "none of them an image"),
        ("new", [("a.zip", zipped({"a.txt": b"x"}))], {}, 400, "1 files, none of them an image"),
        ("new", [("a.zip", zipped({})), ("a.png", b"")], {}, 400, "or one zip archive alone"),
        ("new", [("a.zip", zipped({}))], {"captions": ["x"]}, 400, "leave out `captions`"),
        ("new", [("a.png", b"")], {"captions": ["x", "y"]}, 400, "2 captions for 1 files"),
        ("new", [("a.png", b"")], {"captions": {"b.png": "x"}}, 400, "no such file"),
        ("new", [("a.png", b"")], {"captions": "{"}, 422, "must be JSON"),
        ("new", [("a.png", b"")], {"captions": "7"}, 422, "'captions'"),
        ("new", [("a.png", b"")], {"remove_missing": "true"}, 422, "Only a zip archive"),
        ("new", [("a.png", b"")], {"models": "/etc"}, 404, "offers siglit-mini"),
        ("new", [("a.png", b"")], {"wiat": "true"}, 422, "'wiat'"),
        ("New", [("a.png", b"")], {}, 400, "cannot be called 'New'"),
        ("../new", [("a.png", b"")], {}, 400, "cannot be called"),
        ("demo", [("a.png", b"")], {}, 400, "is shipped with the app"),
    ],
)  # fmt: skip
def test_bad_uploads_get_a_sentence_and_leave_nothing(api, process, gallery, files, fields, status, sentence):
    data = {"gallery": gallery, "wait": "true"} | {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()
    }
    parts = [(name, (None, value)) for name, value in data.items()]
    answer = api.post("/v1/index", files=[*parts, *(("files", file) for file in files)])
    assert (answer.status_code, sentence in answer.json()["error"]["message"]) == (status, True), answer.text
    assert "new" not in {each["id"] for each in api.get("/v1/index").json()["data"]}
    assert not list(indexes(process).glob(".uploads/*"))


def indexes(process):
    return process.log.parent / "indexes"


def test_only_forms_bring_images(api):
    answer = api.post("/v1/index", json={"gallery": "new"})
    assert (answer.status_code, "multipart/form-data" in answer.json()["error"]["message"]) == (415, True)
    refused = api.post("/v1/index", files={"gallery": ("a.png", picture(1))})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "gallery")


def test_a_gallery_can_be_searched_watched_and_stopped_while_it_is_filled(api, process):
    files = [(f"{seed}.png", picture(seed)) for seed in range(600)]
    answer = post_images(api, "busy", files, wait="false")
    assert answer.status_code == 202
    assert answer.json()["job"]["state"] in ("waiting", "running")
    second = post_images(api, "busy", [("late.png", picture(9))])
    assert (second.status_code, second.json()["error"]["code"]) == (409, "index_busy")
    during = api.post("/v1/search", json={"gallery": "busy", "query": {"text": "noise"}, "min_score": 1})
    told = during.json()
    sentence = told["error"]["message"] if "error" in told else told["data"][0]["results"][0]["explanation"]
    assert "Images are being added: " in sentence
    deadline = time.monotonic() + 60
    while not (job := api.get("/v1/index/busy").json()["job"])["done"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job["total"] == 600
    stopped = api.post("/v1/index/busy/cancel").json()["job"]
    assert stopped["state"] == "cancelled"
    assert not list(indexes(process).glob(".uploads/*"))
    deleted = api.delete("/v1/index/busy").json()
    assert deleted == {"id": "busy", "object": "gallery", "deleted": True}
    assert api.get("/v1/index/busy").status_code == 404
    assert not (indexes(process) / "busy").exists()


def test_of_two_requests_at_once_each_is_refused_or_adds_all_of_its_images(api):
    statuses = []

    def send(seed):
        files = [(f"{seed}-{number}.png", picture(seed + number)) for number in range(40)]
        statuses.append(post_images(api, "race", files).status_code)

    threads = [threading.Thread(target=send, args=(seed,)) for seed in (1_000, 2_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) in ({200}, {200, 409})  # the first may have ended when the second arrived
    assert api.get("/v1/index/race").json()["images"]["siglit-mini"] == 40 * statuses.count(200)


def test_who_stops_waiting_does_not_stop_the_job(api):
    files = [(f"{seed}.png", picture(seed)) for seed in range(3_000, 3_200)]
    answer = api.post(
        "/v1/index",
        data={"gallery": "late", "wait": "true"},
        files=[("files", file) for file in files],
        headers={"X-Request-Timeout": "0.5"},
    )
    assert answer.status_code == 504
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        known = api.get("/v1/index/late")
        if known.status_code == 404 or known.json()["job"]["state"] not in ("waiting", "running"):
            break
        time.sleep(0.1)
    # Its time may also have been over before everything had arrived.
    assert known.status_code == 404 or known.json()["images"]["siglit-mini"] == 200


def test_unknown_and_shipped_things_are_not_removed(api, album):
    missing = api.delete(f"/v1/index/{album}/images/no/such.jpg")
    assert (missing.status_code, "no image 'no/such.jpg'" in missing.json()["error"]["message"]) == (
        404,
        True,
    )
    assert api.delete("/v1/index/none").status_code == 404
    assert api.post("/v1/index/none/cancel").status_code == 404
    for refused in (api.delete("/v1/index/demo"), api.delete("/v1/index/demo/images/cat.jpg")):
        assert (refused.status_code, "shipped" in refused.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/search", "POST"),
        ("PUT", "/v1/index", "GET, POST"),
        ("POST", "/v1/index/album", "DELETE, GET"),
        ("GET", "/v1/index/album/images/a/b.jpg", "DELETE"),
        ("GET", "/v1/index/album/nothing", None),
    ],
)
def test_wrong_methods_are_told_the_right_ones(api, album, method, path, allowed):
    answer = api.request(method, path)
    assert (answer.status_code, answer.headers.get("Allow")) == (405 if allowed else 404, allowed)


def test_the_routes_are_described_and_counted(api, album):
    description = api.get("/openapi.json").json()
    assert {"/v1/search", "/v1/index", "/v1/index/{gallery}", "/v1/index/{gallery}/images/{image}"} <= set(
        description["paths"]
    )
    schemas = description["components"]["schemas"]
    assert schemas["SearchBody"]["examples"]
    for name in set(json.dumps(description).split('"#/components/schemas/')[1:]):
        assert name.partition('"')[0] in schemas
    search(api, album, {"text": "something to count"})
    metrics = api.get("/metrics").text
    for name in (
        'siglip_requests_total{door="rest",operation="search",outcome="ok"}',
        'siglip_requests_total{door="rest",operation="index",outcome="ok"}',
        'siglip_stage_seconds_bucket{engine="onnx-fp32",le="0.001",model="siglit-mini",stage="search"}',
        'siglip_background_items_total{engine="onnx-fp32",model="siglit-mini",tower="image"}',
        'siglip_http_responses_total{route="/v1/search",status="200"}',
        'siglip_http_responses_total{route="/v1/index/",status="404"}',
    ):
        assert name in metrics


def test_a_closed_server_lets_nobody_change_its_galleries(tmp_path):
    script = "tests/app/faulty_server.py"
    env = os.environ | {"SIGLIP_ALLOW_INDEXING": "false"}
    with running(tmp_path, script=script, env=env) as process, httpx.Client(base_url=process.address) as api:
        answers = [
            post_images(api, "new", [("a.png", picture(1))]),
            api.delete("/v1/index/demo"),
            api.delete("/v1/index/demo/images/a.jpg"),
            api.post("/v1/index/demo/cancel"),
        ]
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
            assert "lets nobody change" in answer.json()["error"]["message"]
        assert api.get("/v1/index").json()["may_change"] is False
    assert not Path(tmp_path / "indexes" / "new").exists()


@pytest.mark.parametrize("route", ["/v1/index", "/v1/index/demo/cancel"])
def test_a_page_of_another_site_may_change_nothing(api, route):
    answer = api.post(route, data={"gallery": "theirs"}, headers={"Origin": "http://elsewhere.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "other_site")
    own = str(api.base_url).rstrip("/")
    assert api.post(route, data={"gallery": "mine"}, headers={"Origin": own}).status_code != 403
