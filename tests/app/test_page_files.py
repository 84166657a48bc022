"""What the page takes and gives: uploads and its own files, none of the server's; nothing to other sites."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from app.ui.zero_shot_tab import example_rows
from tests.app import patient
from tests.app.gallery_requests import CAT, call
from tests.app.processes import PROJECT, running

pytestmark = pytest.mark.model
META = {"_type": "gradio.FileData"}
UPLOAD_FIRST = "A file must be uploaded first"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Start a server with an upload folder of its own; yield a client, and that folder."""
    folder = tmp_path_factory.mktemp("page")
    env = os.environ | {
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "SIGLIP_DEMO_GALLERY": "false",
        "SIGLIP_INDEX_DIR": str(folder / "indexes"),
    }
    with running(folder, env=env) as process, patient.Client(base_url=process.address, timeout=60) as http:
        yield http, folder / "uploads"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"a key of the server")
    return path


EXAMPLES = """
import asyncio
import httpx
from app.main import create_app
from app.settings import Settings

async def main():
    app = create_app(Settings(demo_gallery=False))
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), timeout=100) as client:
            shown = 0
            while True:
                joined = await client.post("http://test/gradio_api/call/on_example", json={"data": [shown]})
                url = f"http://test/gradio_api/call/on_example/{joined.json()['event_id']}"
                if "event: complete" not in (await client.get(url)).text:
                    return print(shown)
                shown += 1

asyncio.run(main())
"""


@pytest.mark.parametrize("door", ["queue", "past the queue", "files"])
def test_a_file_of_the_server_is_not_read_through_any_door(page, secret, door):
    http, uploads = page
    named = {"path": str(secret), "meta": META}
    question = [named, "a cat", "", ["siglit-mini"], "", ""]
    if door == "queue":
        answer = call(http, "zero_shot", *question)
    elif door == "past the queue":
        answer = http.post("/gradio_api/run/zero_shot", json={"data": question}).text
    else:
        answer = call(http, "on_add", "theirs", [named], "", ["siglit-mini"])
    assert UPLOAD_FIRST in answer
    assert not list(uploads.rglob(secret.name))


def call_tool(http, image):
    tool = {"name": "zero_shot", "arguments": {"image": image, "labels": "a cat", "models": ["siglit-mini"]}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool}
    headers = {"Accept": "application/json, text/event-stream"}
    return http.post("/gradio_api/mcp/", json=body, headers=headers).text


@pytest.mark.parametrize("start", ["", "http://127.0.0.1:1/gradio_api/file="])
def test_a_tool_call_names_no_file_of_the_server(page, secret, start):
    http, uploads = page
    assert '"isError":true' in call_tool(http, f"{start}{secret}")
    assert not list(uploads.rglob(secret.name))


def test_a_tool_call_may_name_an_upload_by_its_url(page):
    http, _ = page
    (path,) = http.post("/gradio_api/upload", files={"files": ("cat.jpg", CAT.read_bytes())}).json()
    answer = call_tool(http, f"http://127.0.0.1:7860/gradio_api/file={path}")
    assert '"isError":false' in answer
    assert "a cat" in answer


def test_an_upload_is_taken(page):
    http, uploads = page
    (path,) = http.post("/gradio_api/upload", files={"files": ("cat.jpg", CAT.read_bytes())}).json()
    assert Path(path).is_relative_to(uploads)
    named = {"path": path, "meta": META}
    assert "event: complete" in call(http, "zero_shot", named, "a cat", "", ["siglit-mini"], "", "")


@pytest.mark.parametrize("image", ["cat.jpg", 7, ["cat.jpg"], {"path": 7, "meta": META}])
def test_what_is_no_file_gets_a_sentence(page, image):
    http, _ = page
    assert UPLOAD_FIRST in call(http, "zero_shot", image, "a cat", "", ["siglit-mini"], "", "")


def test_who_forgets_handle_file_is_told_of_it(page):
    client = Client(str(page[0].base_url), verbose=False)
    with pytest.raises(AppError, match="handle_file"):
        client.predict(image=str(CAT), labels="a cat", api_name="/zero_shot")
    client.close()


def test_a_browser_does_not_run_the_scripts_of_an_uploaded_drawing(page):
    http, uploads = page
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    (path,) = http.post("/gradio_api/upload", files={"files": ("a.svg", drawing, "image/svg+xml")}).json()
    call(http, "zero_shot", {"path": path, "meta": META}, "a cat", "", ["siglit-mini"], "", "")
    copies = list(uploads.rglob("a.svg"))
    assert copies
    for copy in copies:
        answer = http.get(f"/gradio_api/file={copy}")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")


def test_what_lies_at_a_url_is_not_passed_on(page):
    answer = page[0].get("/gradio_api/file=https://example.com/a.png")
    assert answer.status_code == 403
    assert answer.json() == {"detail": "This server passes on no files of other sites."}


def test_examples_are_shown_wherever_the_server_was_started(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == len(example_rows())


@pytest.mark.parametrize("host", ["siglip.example.com", "127.0.0.1:7860"])
def test_pages_of_other_sites_read_no_answers(page, host):
    headers = {"Host": host, "Origin": "http://elsewhere.example"}
    answer = page[0].get("/config", headers=headers)
    assert answer.status_code == 200
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    asked = page[0].options("/gradio_api/call/zero_shot", headers=headers | ask)
    assert asked.status_code == 400
    for each in (answer, asked):
        assert "access-control-allow-origin" not in each.headers
