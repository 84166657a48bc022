"""Real server processes with the bundled pair, as `python app.py` starts them; a browser; fake services."""

from dataclasses import replace

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from app.services import Services
from tests.app.chromium import CHROMIUM, WAIT_MS
from tests.app.gallery_requests import CAPTIONS, IMAGES, NAMES, add
from tests.app.processes import running
from tests.app.search_page import MODELS, LoadedPool
from tests.use_cases.retrieval.pictures import save_colours, stored_spec
from use_cases.retrieval.galleries import GalleryOptions
from use_cases.retrieval.sources import Folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Start the app on a free port; yield its address."""
    with running(tmp_path_factory.mktemp("server")) as process:
        yield process.address


@pytest.fixture(scope="session")
def gallery_server(tmp_path_factory):
    """Start a server whose galleries nobody else changes."""
    with running(tmp_path_factory.mktemp("galleries"), "--max-queue-size", "4096") as process:
        yield process


@pytest.fixture(scope="session")
def gallery_api(gallery_server):
    with httpx.Client(base_url=gallery_server.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def album(gallery_api):
    """Fill a gallery; return its name."""
    files = [(name, (IMAGES / name).read_bytes()) for name in NAMES]
    answer = add(gallery_api, "album", files, captions=CAPTIONS)
    assert (answer["images"], answer["job"]["state"]) == ({"siglit-mini": 7, "lit-mini": 7}, "done")
    return "album"


@pytest.fixture
async def services(tmp_path):
    """Return services around fake engines, with galleries that may be changed."""
    pool = LoadedPool(colours=stored_spec(), shapes=stored_spec("shapes", score="softmax"))
    options = GalleryOptions(root=tmp_path / "indexes", may_change=True, folders=(tmp_path,))
    services = Services(pool, MODELS, gallery_options=options)
    yield services
    await services.close()


@pytest.fixture
async def mine(services, tmp_path):
    """Fill the gallery "mine" with a red, a green and a blue picture; return its name."""
    job = await services.galleries.add("mine", Folder(save_colours(tmp_path / "in")), MODELS)
    await job.wait()
    return "mine"


@pytest.fixture
async def changed_services(services, mine, tmp_path):
    """Return services whose models have changed since "mine" was filled."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_text("others")
    specs = {name: replace(spec, folder=tmp_path / "model") for name, spec in services.pool.specs.items()}
    changed = Services(LoadedPool(**specs), MODELS, gallery_options=services.gallery_options)
    yield changed
    await changed.close()


@pytest.fixture
def upload(tmp_path, monkeypatch):
    """Return a function that puts a file where Gradio puts uploads; it returns what gr.File sends."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))

    def upload(path, name=None):
        place = tmp_path / "uploads" / str(len(list((tmp_path / "uploads").glob("*")))) / path.name
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
        return {"path": str(place), "orig_name": name or path.name}

    (tmp_path / "uploads").mkdir()
    return upload


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Nothing of the page needs WebGL, whose emulation would start a process for each browser.
        options = ["--no-sandbox", "--disable-gpu", "--disable-software-rasterizer"]
        options += ["--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=options)


@pytest.fixture
def open_page(browser, server):
    """Return a function that opens the app, by default on a desktop; pages must not log errors."""
    contexts, errors = [], []

    def open_page(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server)
        expect(page.get_by_role("button", name="Classify")).to_be_visible(timeout=WAIT_MS)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
