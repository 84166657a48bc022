"""A server that stays up: whatever goes wrong, the others get their answers and the next request works."""

import base64
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from tests.app import patient
from tests.app.processes import running
from tests.images import encode

SCRIPT = "tests/app/faulty_server.py"
DIM = 3


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    options = ("--call-timeout-s", "3", "--max-queue-size", "64", "--max-batch-size", "4")
    with running(tmp_path_factory.mktemp("faulty"), *options, script=SCRIPT) as process:
        yield process.address


def embed(address, texts, **options):
    return httpx.post(f"{address}/v1/embeddings", json={"input": texts}, timeout=30, **options)


def keep_busy(threads, address, *texts):
    """Ask for texts that take the engine a while; return when they have arrived there."""
    jobs = [threads.submit(embed, address, [text]) for text in texts]
    while f"siglip_requests_in_work {len(texts)}.0" not in patient.get(f"{address}/metrics").text:
        time.sleep(0.01)
    return jobs


def works(address):
    answer = embed(address, [f"red {time.monotonic()}"])  # new, so that it needs the engine
    return answer.status_code == 200 and len(answer.json()["data"][0]["embedding"]) == DIM


def ready_again(address):
    """Wait until the canary has passed; the test's own time limit ends a server that never recovers."""
    while patient.get(f"{address}/readyz").status_code != 200:
        time.sleep(0.1)
    return True


def restarts(address):
    (engine,) = patient.get(f"{address}/readyz").json()["engines"]
    return engine["restarts"]


def test_an_engine_that_raises_fails_its_request_alone(faulty):
    with ThreadPoolExecutor(8) as threads:
        texts = [f"green {n}" if n % 4 else f"raise {n}" for n in range(8)]
        answers = list(threads.map(lambda text: embed(faulty, [text]), texts))
    assert [answer.status_code for answer in answers] == [500 if "raise" in text else 200 for text in texts]
    error = answers[0].json()["error"]
    assert error["code"] == "inference"
    assert "kernel broke" not in error["message"]
    assert works(faulty)


def test_one_bad_text_does_not_poison_the_batch_of_others(faulty):
    with ThreadPoolExecutor(3) as threads:
        (slow,) = keep_busy(threads, faulty, "slow poison")  # so that the next two share the next call
        bad = threads.submit(embed, faulty, ["raise poison"])
        good = threads.submit(embed, faulty, ["red poison"])
        assert (slow.result().status_code, bad.result().status_code) == (200, 500)
        assert good.result().status_code == 200


def image(colour):
    png = encode(Image.new("RGB", (8, 8), colour), "PNG")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def test_an_image_on_which_the_engine_fails_has_its_error_in_its_place(faulty):
    body = {"images": [image("red"), image("magenta"), "x", image("blue")], "labels": ["red", "blue"]}
    answer = patient.post(f"{faulty}/v1/classify", json=body)
    assert answer.status_code == 200
    first, failed, bad, last = answer.json()["data"]
    assert first["results"][0]["scores"][0]["label"] == "red"
    assert last["results"][0]["scores"][0]["label"] == "blue"
    assert (failed["error"]["code"], failed["error"]["type"]) == ("inference", "server_error")
    assert (bad["error"]["code"], bad["error"]["param"]) == ("invalid_input", "images[2]")
    alone = patient.post(f"{faulty}/v1/classify", json={"images": [image("magenta")], "labels": ["red"]})
    assert alone.status_code == 500


def test_an_engine_that_hangs_is_left_behind_and_readiness_says_so(faulty):
    before = restarts(faulty)
    with ThreadPoolExecutor(2) as threads:
        hung = threads.submit(embed, faulty, ["hang"])
        assert "did not answer within 3 s" in hung.result().json()["error"]["message"]
    assert hung.result().status_code == 500
    assert works(faulty)
    assert ready_again(faulty)
    assert restarts(faulty) == before + 1
    assert patient.get(f"{faulty}/healthz").status_code == 200


def test_a_thread_that_dies_is_started_again_and_counted(faulty):
    before = restarts(faulty)
    assert embed(faulty, ["die"]).status_code == 500
    assert works(faulty)
    assert ready_again(faulty)
    assert restarts(faulty) == before + 1
    metrics = patient.get(f"{faulty}/metrics").text
    assert 'siglip_worker_restarts_total{engine="onnx-fp32",model="colours"}' in metrics


def test_a_deadline_means_504_and_no_compute(faulty):
    with ThreadPoolExecutor(2) as threads:
        (slow,) = keep_busy(threads, faulty, "slow deadline")
        late = embed(faulty, ["blue deadline"], headers={"X-Request-Timeout": "0.3"})
        assert late.status_code == 504
        assert late.json()["error"]["code"] == "deadline_exceeded"
        assert slow.result().status_code == 200
    # Nobody computed what nobody waited for: it is not in the cache.
    assert embed(faulty, ["blue deadline"]).json()["cached"] is False


def test_a_client_that_leaves_costs_no_compute(faulty):
    with ThreadPoolExecutor(2) as threads, patient.Client() as client:
        (slow,) = keep_busy(threads, faulty, "slow leaving")
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"{faulty}/v1/embeddings", json={"input": ["green leaving"]}, timeout=0.2)
        assert slow.result().status_code == 200
    assert embed(faulty, ["green leaving"]).json()["cached"] is False


def test_a_full_queue_means_429_with_retry_after(faulty):
    with ThreadPoolExecutor(13) as threads:
        (slow,) = keep_busy(threads, faulty, "slow queue")
        jobs = [threads.submit(embed, faulty, [f"red {n} {item}" for item in range(8)]) for n in range(12)]
        answers = [job.result() for job in jobs]
        assert slow.result().status_code == 200
    shed = [answer for answer in answers if answer.status_code == 429]
    assert shed
    assert {answer.status_code for answer in answers} == {200, 429}
    assert int(shed[0].headers["Retry-After"]) >= 1
    assert shed[0].json()["error"]["type"] == "rate_limit_error"
    assert works(faulty)


def test_sigterm_under_load_finishes_what_runs_and_exits_with_0(tmp_path):
    with running(tmp_path, "--max-batch-size", "1", script=SCRIPT) as process:
        assert ready_again(process.address)
        page = patient.Client()
        with ThreadPoolExecutor(3) as threads:
            with page.stream("GET", f"{process.address}/gradio_api/heartbeat/x", timeout=60) as stream:
                jobs = keep_busy(threads, process.address, *(f"slow {n}" for n in range(3)))
                process.process.send_signal(signal.SIGTERM)
                assert [job.result().status_code for job in jobs] == [200] * 3
                assert stream.status_code == 200
            assert process.process.wait(timeout=20) == 0
        assert "Traceback" not in process.log.read_text()
        page.close()
        with pytest.raises(httpx.ConnectError):
            patient.get(f"{process.address}/healthz")
