"""Clients and checks against small real servers that refuse, break, fall silent, or are something else."""

import json

import pytest

from tests.stub_server import serving
from use_cases.load import clients, server
from use_cases.load.clients import Clients, Requests, measure_level
from use_cases.load.connection import Connection, LoadTestError
from use_cases.load.inputs import NewImages, NewTexts
from use_cases.load.server import Server, parse_metrics

METRICS = b"""# HELP siglip_batch_size Items in an engine call.
siglip_batch_size_count{engine="e",model="m",tower="image"} 2.0
siglip_batch_size_sum{engine="e",model="m",tower="image"} 6.0
siglip_batch_size_sum{engine="e",model="m",tower="text"} 50.0
siglip_resident_memory_bytes 3.4e+08
"""


@pytest.fixture(scope="module")
def images():
    return NewImages(seed=1)


@pytest.fixture(autouse=True)
def short_pause(monkeypatch):
    monkeypatch.setattr(clients, "_MAX_PAUSE_S", 0.02)


def level(address, images, number=2):
    asked = Server(address=address, model="m", api_key="a-key")
    requests = Requests(asked, images, {"classify": 1, "embed": 2})
    return measure_level(asked, requests, number, warmup_s=0.1, seconds=0.3, model="m", engine="e")


def test_a_level_counts_answers_batches_and_memory(images):
    answers = {"classify": (200, b"{}"), "embeddings": (200, b"{}"), "metrics": (200, METRICS)}
    with serving(**answers) as (http, address):
        result = level(address, images)
    assert result.ok > 0
    assert (result.shed, result.server_errors, result.other_errors, result.hung) == (0, 0, 0, 0)
    assert result.requests_per_s > 0
    assert result.p50_ms <= result.p95_ms <= result.p99_ms
    assert result.mean_batch_size is None  # no call was made meanwhile
    assert result.rss_before_bytes == result.rss_after_bytes == 3.4e8
    assert http.keys == {"Bearer a-key"}
    bodies = [json.loads(body) for body in http.bodies]
    sent = [(body.get("images") or body["input"])[0] for body in bodies]
    assert len(set(sent)) == len(sent)
    assert abs(sum("labels" in body for body in bodies) - len(bodies) / 3) < 1


def test_refusals_and_failures_are_counted_apart(images):
    answers = {"classify": (429, b"{}"), "embeddings": (500, b"{}"), "metrics": (200, METRICS)}
    with serving(**answers) as (_, address):
        result = level(address, images)
    assert result.ok == 0
    assert result.shed > 0
    assert result.server_errors > 0
    assert result.requests_per_s is result.p50_ms is None


def test_a_request_without_an_answer_is_hung(images):
    with serving(classify=(None, b"{}"), metrics=(200, METRICS)) as (_, address):
        asked = Server(address=address, model="m")
        waiting = Clients(asked, Requests(asked, images, {"classify": 1}), 1)
        waiting._connections = [Connection(address, timeout_s=0.1)]
        with waiting.running():
            while not waiting.samples:
                pass
    assert {sample.outcome for sample in waiting.samples} == {"hung"}


def test_a_broken_connection_is_an_error_and_a_bug_is_raised(images):
    with serving() as (_, address):
        pass
    gone = Server(address=address, model="m")
    failing = Clients(gone, Requests(gone, images, {"embed": 1}), 1)
    with failing.running():
        while not failing.samples:
            pass
    assert {sample.outcome for sample in failing.samples} == {"error"}
    buggy = Clients(gone, None, 1)
    with pytest.raises(AttributeError), buggy.running():
        pass


def test_metrics_are_parsed():
    samples = parse_metrics('# TYPE a gauge\na 1.5\nb_sum{model="C:\\\\x, \\"y\\"",tower="image"} 2e3\n')
    assert samples[0] == ("a", {}, 1.5)
    assert samples[1][1]["tower"] == "image"
    assert samples[1][2] == 2000
    assert parse_metrics("Not Found\n") == []


@pytest.mark.parametrize("body", [b"Not Found", b"\xff\xfe"])
def test_a_server_without_metrics_is_named_in_a_sentence(body):
    with serving(metrics=(404, body)) as (_, address), pytest.raises(LoadTestError, match="has no metrics"):
        Server(address=address, model="m").counts()


OFFER = (200, b'{"data": [{"id": "m"}]}')


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({}, "refuses to be asked: status 404"),
        ({"models": (401, b'{"error": {"message": "Bring a key."}}')}, "refuses to be asked: Bring a key."),
        ({"models": (200, b"<html>")}, "not this project's"),
        ({"models": (200, b"[]")}, "not this project's"),
        ({"models": (200, b'{"data": null}')}, "not this project's"),
        ({"models": (200, b'{"data": ["x"]}')}, "not this project's"),
        ({"models": (200, b'{"data": [{"id": 7}]}')}, "not this project's"),
        ({"models": (401, b'{"error": {"detail": "No."}}')}, "refuses to be asked: status 401"),
        ({"models": (200, b'{"data": [{"id": "other"}]}')}, "Unknown model 'm'; this server offers other."),
        ({"models": OFFER, "embeddings": (409, b'{"error": {"message": "Too far off."}}')}, "Too far off."),
    ],
)
def test_a_server_that_cannot_be_tested_is_named_in_a_sentence(answers, sentence):
    with serving(**answers) as (_, address), pytest.raises(LoadTestError, match=sentence):
        Server(address=address, model="m").check(NewTexts(1))


def test_a_model_is_waited_for_until_it_is_loaded(monkeypatch):
    with serving(models=OFFER, embeddings=(504, b"{}")) as (http, address):
        loading = Server(address=address, model="m")
        monkeypatch.setattr(server, "_LOADING_S", 0.0)
        with pytest.raises(LoadTestError, match="not loaded within"):
            loading.check(NewTexts(1))
        http.answers["/v1/embeddings"] = (200, b'{"engine": "e"}')
        assert loading.check(NewTexts(1)) == "e"


@pytest.mark.parametrize(
    "address",
    [
        *("here", "ftp://localhost", "http://", "http://localhost:port", "http://127.0.0.1:7860/ü"),
        *("http://127.0.0.1:7860/a b", "http://.example.com", f"http://{'a' * 64}.example.com", "http://a b"),
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(LoadTestError, match="is no address"):
        Connection(address)


@pytest.mark.parametrize("address", ["http://bücher.example/%C3%BC", "https://[::1]:7860/siglip/"])
def test_what_is_an_address_is_taken(address):
    Connection(address)
