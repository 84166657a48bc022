"""Galleries over REST and the page's events, for the tests: what is put in, and how to ask for it."""

import base64
import io
import json
import zipfile

import numpy as np
from PIL import Image

from engines.gallery import GALLERY_DIR
from tests.images import encode

IMAGES = GALLERY_DIR / "images"
NAMES = ("cat.jpg", "running-cat.jpg", "rocket.jpg", "coffee.jpg", "bananas.png", "astronaut.jpg", "bed.png")
CAPTIONS = {"cat.jpg": "A cat looks at you.", "rocket.jpg": "A rocket lifts off.", "coffee.jpg": "A CUP."}
CAT = IMAGES / "cat.jpg"
CAT_URI = f"data:image/jpeg;base64,{base64.b64encode(CAT.read_bytes()).decode()}"
BAD_URI = f"data:image/jpeg;base64,{base64.b64encode(b'only words').decode()}"


def post_images(api, gallery, files, **fields):
    form = {"gallery": gallery, "wait": "true", **fields}
    form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in form.items()}
    return api.post("/v1/index", data=form, files=[("files", file) for file in files])


def add(api, gallery, files, **fields):
    answer = post_images(api, gallery, files, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def call(api, event, *data, headers=None):
    """Return what an event of the page answers, as it stands on the wire."""
    joined = api.post(f"/gradio_api/call/{event}", json={"data": data}, headers=headers)
    assert joined.status_code == 200, joined.text
    return api.get(f"/gradio_api/call/{event}/{joined.json()['event_id']}").text


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


def indexes(process):
    return process.log.parent / "indexes"
