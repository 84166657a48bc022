"""Jobs that fill galleries over the REST API of a real server: watched, stopped, side by side, counted."""

import json
import re
import threading
import time
from collections import Counter

import pytest

from tests.app.gallery_requests import add, indexes, picture, post_images, search

pytestmark = pytest.mark.model


def test_a_gallery_can_be_searched_watched_and_stopped_while_it_is_filled(gallery_api, gallery_server):
    files = [(f"{seed}.png", picture(seed)) for seed in range(600)]
    answer = post_images(gallery_api, "busy", files, wait="false")
    assert answer.status_code == 202
    assert answer.json()["job"]["state"] in ("waiting", "running")
    second = post_images(gallery_api, "busy", [("late.png", picture(9))])
    assert (second.status_code, second.json()["error"]["code"]) == (409, "index_busy")
    during = gallery_api.post(
        "/v1/search", json={"gallery": "busy", "query": {"text": "noise"}, "min_score": 1}
    )
    told = during.json()
    sentence = told["error"]["message"] if "error" in told else told["data"][0]["results"][0]["explanation"]
    assert "Images are being added: " in sentence
    deadline = time.monotonic() + 60
    while (
        not (job := gallery_api.get("/v1/index/busy").json()["job"])["done"] and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert job["total"] == 600
    stopped = gallery_api.post("/v1/index/busy/cancel").json()
    job = stopped["job"]
    assert (job["state"], 0 < job["done"] < 600) == ("cancelled", True)
    assert set(stopped["images"].values()) == {job["added"]}  # what was committed stays
    assert gallery_api.post("/v1/index/busy/cancel").json()["job"] == job  # nothing goes on
    assert not list(indexes(gallery_server).glob(".uploads/*"))
    deleted = gallery_api.delete("/v1/index/busy").json()
    assert deleted == {"id": "busy", "object": "gallery", "deleted": True}
    assert gallery_api.get("/v1/index/busy").status_code == 404
    assert not (indexes(gallery_server) / "busy").exists()


def test_of_two_requests_at_once_each_is_refused_or_adds_all_of_its_images(gallery_api):
    statuses = []

    def send(seed):
        files = [(f"{seed}-{number}.png", picture(seed + number)) for number in range(40)]
        statuses.append(post_images(gallery_api, "race", files).status_code)

    threads = [threading.Thread(target=send, args=(seed,)) for seed in (1_000, 2_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) in ({200}, {200, 409})  # the first may have ended when the second arrived
    assert gallery_api.get("/v1/index/race").json()["images"]["siglit-mini"] == 40 * statuses.count(200)


def test_who_stops_waiting_does_not_stop_the_job(gallery_api):
    files = [(f"{seed}.png", picture(seed)) for seed in range(3_000, 3_060)]
    answer = gallery_api.post(
        "/v1/index",
        data={"gallery": "late", "wait": "true"},
        files=[("files", file) for file in files],
        headers={"X-Request-Timeout": "0.5"},
    )
    assert answer.status_code == 504
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        known = gallery_api.get("/v1/index/late")
        if known.status_code == 404 or known.json()["job"]["state"] not in ("waiting", "running"):
            break
        time.sleep(0.1)
    # Its time may also have been over before everything had arrived.
    assert known.status_code == 404 or known.json()["images"]["siglit-mini"] == 60


def test_the_images_of_jobs_are_counted_by_what_became_of_them(gallery_api):
    def counts():
        found = re.findall(r'^siglip_indexed_images_total{outcome="(\w+)"} (\d+)', metrics(gallery_api), re.M)
        return Counter({outcome: int(float(count)) for outcome, count in found})

    before = counts()
    assert set(before) == {"added", "replaced", "unchanged", "failed", "removed"}
    files = [(f"{seed}.png", picture(seed)) for seed in (1, 2, 3)]
    add(gallery_api, "counted", [*files, ("bad.png", b"only words")])
    add(gallery_api, "counted", files[:2], captions={"1.png": "noise"})
    gallery_api.delete("/v1/index/counted/images/3.png").raise_for_status()
    after = counts()
    after.subtract(before)
    assert after == {"added": 3, "replaced": 1, "unchanged": 1, "failed": 1, "removed": 1}
    gallery_api.delete("/v1/index/counted").raise_for_status()
    assert counts()["added"] == before["added"] + 3  # a counter never falls


def metrics(api):
    return api.get("/metrics").text


def test_the_routes_are_described_and_counted(gallery_api, album):
    description = gallery_api.get("/openapi.json").json()
    assert {"/v1/search", "/v1/index", "/v1/index/{gallery}", "/v1/index/{gallery}/images/{image}"} <= set(
        description["paths"]
    )
    schemas = description["components"]["schemas"]
    assert schemas["SearchBody"]["examples"]
    for name in set(json.dumps(description).split('"#/components/schemas/')[1:]):
        assert name.partition('"')[0] in schemas
    search(gallery_api, album, {"text": "something to count"})
    told = metrics(gallery_api)
    for name in (
        'siglip_requests_total{door="rest",operation="search",outcome="ok"}',
        'siglip_requests_total{door="rest",operation="index",outcome="ok"}',
        'siglip_stage_seconds_bucket{engine="onnx-fp32",le="0.001",model="siglit-mini",stage="search"}',
        'siglip_background_items_total{engine="onnx-fp32",model="siglit-mini",tower="image"}',
        'siglip_http_responses_total{route="/v1/search",status="200"}',
        'siglip_http_responses_total{route="/v1/index/",status="404"}',
    ):
        assert name in told
