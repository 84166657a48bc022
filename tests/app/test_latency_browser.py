"""The latency tab in headless Chromium: values move while load runs, and agree with the client's own."""

import json
import threading
import time

import httpx
import orjson
import pytest
from playwright.sync_api import expect

from tests.app.chromium import NEEDS_CHROMIUM, WAIT_MS
from use_cases.latency import percentile
from use_cases.load.connection import Connection
from use_cases.load.inputs import NewImages

pytestmark = NEEDS_CHROMIUM
LOAD_S = 10
CLIENTS = 2
LOOKS_MS = 3000  # in which the page looks at least once
OPERATION = "classify"


class Clients:
    """Ask without a pause until they are stopped; `times_ms` has what each answer took."""

    def __init__(self, address):
        self.times_ms, self._stopped = [], threading.Event()
        self._images = NewImages(seed=31)
        self._threads = [threading.Thread(target=self._ask, args=[address]) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, address):
        with Connection(address) as connection:  # takes less of the cores than httpx would
            while not self._stopped.is_set():
                image = self._images.data_uri().decode()
                body = {"images": [image], "labels": ["a cat", "a dog"], "models": ["siglit-mini"]}
                data = orjson.dumps(body)
                start_s = time.perf_counter()
                assert connection.ask("POST", "/v1/classify", data).status == 200
                self.times_ms.append((time.perf_counter() - start_s) * 1000)


def whole(page):
    """Return the number of requests that the page shows, and their p50 in milliseconds."""
    cells = page.locator("#latency-times tr.whole", has_text=OPERATION).locator("td").all_inner_texts()
    return int(cells[0].replace(",", "")), float(cells[1].replace(",", ""))


def open_tab(page):
    page.get_by_role("tab", name="Latency").click()


def test_values_move_under_load_and_agree_with_the_client(open_page, server):
    page = open_page(width=1200, height=900)
    open_tab(page)
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#latency-shares")).to_contain_text("No request in this window yet", timeout=WAIT_MS)
    with Clients(server) as clients:
        expect(page.locator("#latency-times tr.whole", has_text=OPERATION)).to_be_visible(timeout=WAIT_MS)
        first = whole(page)
        time.sleep(LOAD_S)
        assert whole(page)[0] > first[0]
    cell = page.locator("#latency-times tr.whole", has_text=OPERATION).locator("td").first
    expect(cell).to_have_text(
        f"{len(clients.times_ms):,}", timeout=WAIT_MS
    )  # all, within the window's minute
    assert whole(page)[1] == pytest.approx(percentile(clients.times_ms, 0.5), rel=0.1)
    expect(page.locator("#latency-shares")).to_contain_text("% infer")
    for name in ("over-time", "rates", "last", "slowest", "batches", "queue", "processor", "memory"):
        expect(page.locator(f'figure[data-name="{name}"] .main-svg').first).to_be_visible(timeout=WAIT_MS)


def test_pausing_stops_the_page_from_asking(open_page, server):
    page = open_page(width=1200, height=900)
    open_tab(page)
    expect(page.locator("#latency-shares")).not_to_be_empty(timeout=WAIT_MS)
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "queue/join" in request.url else None)

    def expect_quiet():
        for _ in range(5):  # a busy machine may be behind
            asked.clear()
            page.wait_for_timeout(LOOKS_MS)
            if not asked:
                return
        pytest.fail("The page goes on asking.")

    page.get_by_label("Pause").check()
    expect_quiet()
    with page.expect_request(lambda request: "queue/join" in request.url, timeout=WAIT_MS):
        page.get_by_label("Pause").uncheck()
    page.get_by_role("tab", name="Zero-shot").click()  # now nobody looks
    expect_quiet()


def test_a_chrome_trace_can_be_saved(open_page, server):
    body = {"labels": ["a cat"], "models": ["siglit-mini"]}
    body["images"] = [NewImages(seed=77).data_uri().decode()]
    assert httpx.post(f"{server}/v1/classify", json=body, timeout=60).status_code == 200
    page = open_page(width=1200, height=900)
    open_tab(page)
    expect(page.locator("#latency-times tr.whole").first).to_be_visible(timeout=WAIT_MS)
    with page.expect_download(timeout=WAIT_MS) as saved:
        page.get_by_role("button", name="Requests as Chrome trace").click()
    events = json.loads(saved.value.path().read_bytes())["traceEvents"]
    assert "infer" in {event["name"] for event in events}


def test_it_fits_a_phone(open_page, server):
    page = open_page(width=390, height=844, color_scheme="dark")
    if not page.get_by_role("tab", name="Latency").is_visible():  # it is in the menu
        page.locator(".overflow-menu button:visible").first.click()
        page.locator(".overflow-dropdown button:visible", has_text="Latency").click()
    else:
        open_tab(page)
    expect(page.locator("#latency-shares")).not_to_be_empty(timeout=WAIT_MS)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
