"""What requests from elsewhere may not do on a server that trusts its own machine alone."""

import pytest

from app.rights import is_from_here
from app.settings import Settings
from tests.app.asgi import http_scope
from tests.app.gallery_requests import call, picture, post_images

ELSEWHERE = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"Forwarded": "for=203.0.113.9"},
    {"X-Real-IP": "203.0.113.9"},
    {"Via": "1.1 proxy"},
    {"X-Forwarded-Host": "siglip.example.com"},
    {"Host": "siglip.example.com"},
    {"Host": "rebound.example:7860"},
]


def scope(address="127.0.0.1", host="127.0.0.1:7860", **headers):
    return http_scope(headers=[("Host", host), *headers.items()]) | {"client": (address, 1234)}


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1", "127.0.0.1:7860"),
        ("127.0.0.1", "localhost:7860"),
        ("127.0.0.1", "LOCALHOST"),
        ("::1", "[::1]:7860"),
        ("127.0.0.2", "127.8.8.8"),
    ],
)
def test_a_request_of_this_machine_is_known(address, host):
    assert is_from_here(scope(address, host))


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("203.0.113.9", "localhost"),
        ("127.0.0.1", "example.com"),
        ("127.0.0.1", "localhost.example.com"),
        ("127.0.0.1", "127.0.0.1.example.com"),
        ("127.0.0.1", "0.0.0.0:7860"),
        ("127.0.0.1", "[::1"),
        ("127.0.0.1", ""),
        ("not an address", "localhost"),
    ],
)
def test_a_request_from_elsewhere_is_known(address, host):
    assert not is_from_here(scope(address, host))


def test_a_request_through_a_unix_socket_is_a_proxys():
    assert not is_from_here(scope() | {"client": None})


@pytest.mark.parametrize(
    ("settings", "local_only"),
    [
        ({}, {"indexing", "measuring", "folders"}),
        ({"allow_indexing": True}, {"measuring", "folders"}),
        ({"allow_measuring": False, "index_folders": "/photos"}, {"indexing"}),
        ({"auth": "user:password"}, {"indexing", "measuring", "folders"}),
        ({"auth": "user:password", "api_keys": "0123456789abcdef"}, {"folders"}),
        ({"host": "0.0.0.0"}, set()),
        ({"root_path": "/behind/a/proxy"}, set()),
    ],
)
def test_only_what_nothing_else_allows_depends_on_where_a_request_comes_from(settings, local_only):
    assert Settings(_env_file=None, **settings).local_only == local_only


@pytest.mark.model
@pytest.mark.parametrize("headers", ELSEWHERE, ids=lambda headers: ": ".join(*headers.items()))
def test_strangers_change_no_gallery_and_name_no_folder(gallery_api, headers):
    post_images(gallery_api, "ours", [("a.png", picture(1))]).raise_for_status()
    form = {"data": {"gallery": "theirs"}, "files": [("files", ("a.png", picture(1)))]}
    answers = [
        gallery_api.post("/v1/index", headers=headers, **form),
        gallery_api.post("/v1/index/ours/cancel", headers=headers),
        gallery_api.delete("/v1/index/ours/images/a.png", headers=headers),
        gallery_api.delete("/v1/index/ours", headers=headers),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
        assert "lets only its own machine change galleries" in answer.json()["error"]["message"]
    assert gallery_api.get("/v1/index", headers=headers).json()["may_change"] is False
    for change in (("on_add", "theirs", None, "/", ["siglit-mini"]), ("on_remove", "ours")):
        assert "This page may only search" in call(gallery_api, *change, headers=headers)
    assert gallery_api.get("/v1/index").json()["may_change"] is True
    assert gallery_api.get("/v1/index/ours").json()["images"] == {"siglit-mini": 1, "lit-mini": 1}
    gallery_api.delete("/v1/index/ours").raise_for_status()
