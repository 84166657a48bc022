"""A real server process with the bundled pair, as `python app.py` starts it; and a browser to open it."""

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.app.chromium import CHROMIUM, WAIT_MS
from tests.app.processes import running


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Start the app on a free port; yield its address."""
    with running(tmp_path_factory.mktemp("server")) as process:
        yield process.address


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
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
