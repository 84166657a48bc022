"""A real server, asked by a real gradio_client and over HTTP; bad requests do no harm."""

import json
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.app.conftest import PROJECT
from tests.app.photos import photos
from tests.engines.test_images import png_header

pytestmark = pytest.mark.model
CAT = photos()[0].values[0]


@pytest.fixture(scope="module")
def client(server):
    client = Client(server, verbose=False)
    yield client
    client.close()


def ask(client, path, labels="a cat, a dog", **options):
    return client.predict(image=handle_file(str(path)), labels=labels, api_name="/zero_shot", **options)


@pytest.mark.parametrize(("path", "labels", "answer"), photos())
def test_gradio_client_gets_the_right_answer(client, path, labels, answer):
    siglit, lit = ask(client, path, labels)["results"]
    assert (siglit["model"], lit["model"]) == ("siglit-mini", "lit-mini")
    assert (siglit["score"], lit["score"]) == ("sigmoid", "softmax")
    assert siglit["scores"][0]["label"] == answer
    assert siglit["scores"][0]["score"] > 0.5
    assert siglit["none_of_these"] < 0.5
    assert sum(score["score"] for score in lit["scores"]) == pytest.approx(1, abs=1e-4)
    assert siglit["engine"] == "onnx-fp32"
    assert {"decode", "preprocess", "tokenize", "queue", "infer", "post"} <= set(siglit["timings_ms"])


@pytest.mark.parametrize(("path", "labels", "answer"), photos())
def test_the_command_line_gets_the_right_answer(path, labels, answer):
    command = [sys.executable, "-m", "app.cli.classify", path, "--labels", labels, "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    answered = json.loads(done.stdout)
    assert answered["model"] == "siglit-mini"
    assert answered["results"][0]["scores"][0]["label"] == answer


def test_one_model_and_a_template_can_be_chosen(client):
    path, labels, answer = photos()[0].values
    (result,) = ask(client, path, labels, models=["lit-mini"], template="a photo of {label}")["results"]
    assert result["model"] == "lit-mini"
    assert result["scores"][0]["label"] == answer


def test_the_endpoint_keeps_its_name_and_parameters(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/zero_shot"]
    names = [parameter["parameter_name"] for parameter in endpoints["/zero_shot"]["parameters"]]
    assert names == ["image", "labels", "template", "models"]


@pytest.fixture(params=["text", "truncated", "bomb", "empty"])
def bad_file(request, tmp_path):
    good = Path(CAT).read_bytes()
    data, sentence = {
        "text": (b"only words", "is not a JPEG"),
        "truncated": (good[: len(good) // 3], "damaged or incomplete"),
        "bomb": (png_header(10_000, 10_000), "100 million pixels|far more pixels"),
        "empty": (b"", "is empty"),
    }[request.param]
    (tmp_path / "photo.jpg").write_bytes(data)
    return tmp_path / "photo.jpg", sentence


def test_a_bad_image_gets_a_sentence_and_the_next_request_works(client, bad_file):
    path, sentence = bad_file
    with pytest.raises(AppError, match=sentence):
        ask(client, path)
    assert ask(client, CAT)["results"][0]["scores"][0]["label"] == "a cat"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": " , "}, "There are no labels"),
        ({"labels": "\n".join(map(str, range(10_000)))}, "10,000 labels; at most 1,000"),
        ({"template": "a photo"}, r"must contain \{label\}"),
        ({"models": []}, "No model is chosen"),
        ({"models": ["/etc"]}, "Unknown model '/etc'; this server offers siglit-mini, lit-mini"),
        ({"labels": 7}, "'labels' must be text, not int"),
    ],
)
def test_bad_parameters_get_a_sentence(client, options, sentence):
    with pytest.raises(AppError, match=sentence):
        ask(client, CAT, **options)


def test_no_image_gets_a_sentence(client):
    with pytest.raises(AppError, match="There is no image"):
        client.predict(image=None, labels="a cat", api_name="/zero_shot")


def test_a_file_of_the_server_cannot_be_named(client, server):
    job = httpx.post(
        f"{server}/gradio_api/call/zero_shot",
        json={"data": [{"path": str(PROJECT / "app/examples/cat.jpg")}, "a cat", "", ["siglit-mini"]]},
    )
    events = httpx.get(f"{server}/gradio_api/call/zero_shot/{job.json()['event_id']}").text
    assert "event: error" in events


def test_many_clients_at_once_all_get_their_own_answer(client):
    rows = [photo.values for photo in photos()] * 4
    with ThreadPoolExecutor(len(rows)) as threads:
        results = list(threads.map(lambda row: ask(client, row[0], row[1]), rows))
    assert [result["results"][0]["scores"][0]["label"] for result in results] == [row[2] for row in rows]


def test_known_labels_are_not_embedded_again(client):
    path, labels, _ = photos()[1].values
    ask(client, path, labels)
    result = ask(client, path, labels)["results"][0]
    assert result["labels_cached"]
    assert not result["cold"]


def test_healthz_answers(server):
    assert httpx.get(f"{server}/healthz").json() == {"status": "ok"}


NO_TORCH = """
import asyncio, sys
from app.main import create_app
from app.settings import Settings
from app.services import build_services
app = create_app(Settings())
async def main():
    services = build_services(Settings())
    engines = await services.engines(services.models)
    assert [engine.spec.name for engine, _ in engines] == ["siglit-mini", "lit-mini"]
    await services.pool.close()
asyncio.run(main())
print(sorted({"torch", "transformers", "bitsandbytes", "open_clip", "onnx"} & set(sys.modules)))
"""


def test_the_default_start_imports_no_heavy_library():
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_command_line_imports_neither_torch_nor_gradio():
    script = (
        "import sys; from app.cli.classify import main; "
        f"main([{CAT!r}, '--labels', 'a cat']); "
        "print(sorted({'torch', 'transformers', 'gradio', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_16_bit_images_work_through_the_endpoint(client, tmp_path):
    import numpy as np
    from PIL import Image

    grey = np.asarray(Image.open(CAT).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "grey16.png")
    assert struct.unpack(">B", (tmp_path / "grey16.png").read_bytes()[24:25]) == (16,)
    assert ask(client, tmp_path / "grey16.png", "a cat, a bus")["results"][0]["scores"][0]["label"] == "a cat"
