"""Filling galleries over the REST API of a real server: images, archives, and what is refused."""

import json
from urllib.parse import quote

import pytest

from tests.app.gallery_requests import CAT, add, failures, ids, indexes, picture, search, zipped

pytestmark = pytest.mark.model


def test_galleries_are_listed_and_described(gallery_api, album):
    listed = gallery_api.get("/v1/index").json()
    galleries = {each["id"]: each for each in listed["data"]}
    assert listed["may_change"] is True
    assert galleries["demo"]["images"] == {}
    assert galleries[album]["images"] == {"siglit-mini": 7, "lit-mini": 7}
    assert "failed" not in galleries[album]["job"]
    described = gallery_api.get(f"/v1/index/{album}").json()
    assert described["job"]["failed"] == []
    assert described["job"]["images_per_s"] > 0
    assert gallery_api.get("/v1/index/none").status_code == 404


def test_a_file_that_is_no_image_is_listed_and_the_others_are_added(gallery_api):
    files = [
        ("good.png", picture(1)),
        ("bad.png", b"only words"),
        ("empty.png", b""),
        ("cut.jpg", CAT.read_bytes()[:5000]),
    ]
    answer = add(gallery_api, "mixed", files)
    assert answer["images"] == {"siglit-mini": 1, "lit-mini": 1}
    assert set(failures(answer)) == {"bad.png", "empty.png", "cut.jpg"}
    assert "is not a JPEG" in failures(answer)["bad.png"]
    assert answer["job"]["num_failed"] == 3
    again = add(gallery_api, "mixed", files)["job"]
    assert (again["added"], again["unchanged"]) == (0, 1)


def test_names_are_kept_without_their_folders_and_told_apart(gallery_api):
    names = [
        "käfer 🐈‍⬛ it's.png",
        'so "quoted".png',
        "../../etc/up.png",
        "C:\\me\\win.png",
        "same.png",
        "same.png",
    ]
    answer = add(gallery_api, "names", [(name, picture(place)) for place, name in enumerate(names)])
    assert answer["job"]["added"] == len(names)
    (result,) = search(gallery_api, "names", {"text": "noise"})
    found = set(ids(result))
    assert {names[0], names[1], "up.png", "win.png", "same.png"} < found
    (other,) = found - {names[0], names[1], "up.png", "win.png", "same.png"}
    assert other.startswith("same-")
    for name in found:
        (liked,) = search(gallery_api, "names", {"like": name}, top_k=1)
        assert ids(liked) == [name]
        removed = gallery_api.delete(f"/v1/index/names/images/{quote(name)}")
        assert (removed.status_code, removed.json()["id"]) == (200, name)
    assert gallery_api.get("/v1/index/names").json()["images"] == {"siglit-mini": 0, "lit-mini": 0}


def test_a_zip_archive_brings_folders_captions_and_no_danger(gallery_api):
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
    answer = add(gallery_api, "trip", [("trip.zip", archive)])
    assert answer["images"]["siglit-mini"] == 1
    reasons = failures(answer)
    assert "leads out of the archive" in reasons["../../evil.png"]
    assert "compressed too much" in reasons["bomb.png"]
    assert set(reasons) == {"../../evil.png", "bomb.png", "broken.png"}
    (result,) = search(gallery_api, "trip", {"text": "noise"}, filter={"id_prefix": "trip/"})
    assert [(hit["id"], hit["caption"]) for hit in result["hits"]] == [("trip/a.png", "the first day")]
    later = add(gallery_api, "trip", [("trip.zip", zipped({"b.png": picture(3)}))], remove_missing="true")
    assert (later["job"]["added"], later["job"]["removed"]) == (1, 1)
    assert gallery_api.delete("/v1/index/trip/images/trip%2Fa.png").status_code == 404
    assert gallery_api.delete("/v1/index/trip/images/b.png").status_code == 200


@pytest.mark.parametrize(
    ("gallery", "files", "fields", "status", "sentence"),
    [
        ("new", [], {}, 400, "There are no files"),
        ("new", [("a.txt", b"words"), ("b.txt", b"words")], {}, 400, "2 files, no image among them"),
        ("new", [("a.zip", b"no zip")], {}, 400, "'a.zip' is no zip archive"),
        ("new", [("a.zip", zipped({}))], {}, 400, "no image among them"),
        ("new", [("a.zip", zipped({"a.txt": b"x"}))], {}, 400, "1 file, no image among them"),
        ("new", [("a.zip", zipped({})), ("a.png", b"")], {}, 400, "or one zip archive alone"),
        ("new", [("a.zip", zipped({}))], {"captions": ["x"]}, 400, "leave out `captions`"),
        ("new", [("a.png", b"")], {"captions": ["x", "y"]}, 400, "2 captions for 1 file;"),
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
def test_bad_uploads_get_a_sentence_and_leave_nothing(
    gallery_api, gallery_server, gallery, files, fields, status, sentence
):
    data = {"gallery": gallery, "wait": "true"} | {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()
    }
    parts = [(name, (None, value)) for name, value in data.items()]
    answer = gallery_api.post("/v1/index", files=[*parts, *(("files", file) for file in files)])
    assert (answer.status_code, sentence in answer.json()["error"]["message"]) == (status, True), answer.text
    assert "new" not in {each["id"] for each in gallery_api.get("/v1/index").json()["data"]}
    assert not list(indexes(gallery_server).glob(".uploads/*"))


def test_only_forms_bring_images(gallery_api):
    answer = gallery_api.post("/v1/index", json={"gallery": "new"})
    assert (answer.status_code, "multipart/form-data" in answer.json()["error"]["message"]) == (415, True)
    refused = gallery_api.post("/v1/index", files={"gallery": ("a.png", picture(1))})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "gallery")


def test_unknown_and_shipped_things_are_not_removed(gallery_api, album):
    missing = gallery_api.delete(f"/v1/index/{album}/images/no/such.jpg")
    assert (missing.status_code, "no image 'no/such.jpg'" in missing.json()["error"]["message"]) == (
        404,
        True,
    )
    assert gallery_api.delete("/v1/index/none").status_code == 404
    assert gallery_api.post("/v1/index/none/cancel").status_code == 404
    for refused in (
        gallery_api.delete("/v1/index/demo"),
        gallery_api.delete("/v1/index/demo/images/cat.jpg"),
    ):
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
def test_wrong_methods_are_told_the_right_ones(gallery_api, album, method, path, allowed):
    answer = gallery_api.request(method, path)
    assert (answer.status_code, answer.headers.get("Allow")) == (405 if allowed else 404, allowed)
