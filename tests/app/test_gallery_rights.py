"""Who may change galleries: over REST, and with the page and its endpoints."""

import os
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.app import patient
from tests.app.gallery_requests import call, picture, post_images
from tests.app.processes import running
from tests.use_cases.retrieval.pictures import save_colours

pytestmark = pytest.mark.model
KEY = "a-key-of-the-tests"


def test_a_closed_server_lets_nobody_change_its_galleries(tmp_path):
    script = "tests/app/faulty_server.py"
    env = os.environ | {"SIGLIP_ALLOW_INDEXING": "false"}
    with (
        running(tmp_path, script=script, env=env) as process,
        patient.Client(base_url=process.address) as api,
    ):
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
def test_a_page_of_another_site_may_change_nothing(gallery_api, route):
    answer = gallery_api.post(
        route, data={"gallery": "theirs"}, headers={"Origin": "http://elsewhere.example"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "other_site")
    answer = gallery_api.post(route, data={"gallery": "theirs"}, headers={"Origin": "http://[x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "other_site")
    own = str(gallery_api.base_url).rstrip("/")
    assert gallery_api.post(route, data={"gallery": "mine"}, headers={"Origin": own}).status_code != 403


@contextmanager
def guarded(folder, **settings):
    """Start a server that asks for a key; yield a client that does not bring it, and one that does."""
    env = os.environ | {"SIGLIP_API_KEYS": KEY, "SIGLIP_ALLOW_INDEXING": "true", **settings}
    with running(folder, env=env) as process:
        stranger = httpx.Client(base_url=process.address, timeout=60)
        friend = httpx.Client(base_url=process.address, timeout=60, headers={"X-API-Key": KEY})
        with stranger, friend:
            yield stranger, friend


def test_with_keys_and_no_password_the_page_may_search_and_change_nothing(tmp_path):
    save_colours(tmp_path / "in")
    folders = str(tmp_path / "in")
    with guarded(tmp_path, SIGLIP_INDEX_FOLDERS=folders) as (stranger, friend):
        assert post_images(stranger, "mine", [("a.png", picture(1))]).status_code == 401
        assert post_images(friend, "mine", [("a.png", picture(1))]).status_code == 200
        for change in (
            ("on_add", "new", None, folders, ["siglit-mini"]),
            ("on_add", "mine", None, folders, ["siglit-mini"]),
            ("on_cancel", "mine"),
            ("on_ask", "mine"),
            ("on_remove", "mine"),
        ):
            refused = call(stranger, *change)
            assert "event: error" in refused
            assert "This page may only search" in refused
        for event in ("on_remove", "on_cancel"):  # past the queue
            stranger.post(f"/gradio_api/run/{event}", json={"data": ["mine"]})
        assert '"visible": false' in call(stranger, "on_rights")
        kept = {each["id"]: each["images"] for each in friend.get("/v1/index").json()["data"]}
        assert kept == {"demo": {}, "mine": {"siglit-mini": 1, "lit-mini": 1}}
        asked = ["noise", None, "", "", "mine", ["siglit-mini"], "", 1, None, "", False, False]
        found = call(stranger, "search", *asked)
        assert "event: complete" in found
        assert '"id": "a.png"' in found


def test_with_keys_and_a_password_who_has_the_password_may_change_galleries(tmp_path):
    save_colours(tmp_path / "in")
    settings = {"SIGLIP_INDEX_FOLDERS": str(tmp_path / "in"), "SIGLIP_AUTH": "user:password"}
    with guarded(tmp_path, **settings) as (visitor, friend):
        change = {"data": ["new", None, str(tmp_path / "in"), ["siglit-mini"]]}
        assert visitor.post("/gradio_api/call/on_add", json=change).status_code == 401
        login = visitor.post("/login", data={"username": "user", "password": "password"})
        assert login.status_code == 200
        assert "event: complete" in call(visitor, "on_add", *change["data"])
        assert '"visible": true' in call(visitor, "on_rights")
        assert friend.get("/v1/index/new").json()["job"]["error"] is None
        assert friend.delete("/v1/index/new").status_code == 200


def test_without_keys_the_page_may_change_galleries(gallery_api):
    post_images(gallery_api, "page", [("a.png", picture(1))]).raise_for_status()
    assert "event: complete" in call(gallery_api, "on_remove", "page")
    assert gallery_api.get("/v1/index/page").status_code == 404
