"""Many images, and engines, in headless Chromium: heatmaps, hover, keys, downloads, a phone, and stopping."""

import contextlib
import json

import psutil
import pytest
from playwright.sync_api import expect

from app.ui.compare_many import EXAMPLE
from engines.gallery import GALLERY_DIR
from tests.app.chromium import EVERY_SCREEN, NEEDS_CHROMIUM, WAIT_MS

pytestmark = NEEDS_CHROMIUM
RECORDED = "random:siglip-base-patch16-224"


def open_tab(open_page, name, **options):
    page = open_page(**options)
    page.get_by_role("tab", name="Compare", exact=True).click()
    inner = page.get_by_role("tab", name=name, exact=True)
    menu = page.locator(".overflow-menu button:visible").first
    expect(inner.or_(menu).first).to_be_visible()
    page.wait_for_timeout(500)  # until Gradio has found out which tabs fit
    if inner.is_visible():
        inner.click()
    else:
        menu.click()
        page.locator(".overflow-dropdown button:visible", has_text=name).click()
    return page


def plots(page, tab):
    return page.locator(f"#compare-{tab}-plots .plot .main-svg:first-child")


def expect_no_sideways_scrolling(page):
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


@EVERY_SCREEN
def test_the_example_is_one_click_and_fits_every_screen(open_page, screen):
    page = open_tab(open_page, "Many images", **screen)
    expect(page.get_by_text("Drop images and type texts")).to_be_visible()
    page.locator("#compare-many-example").click()
    expect(plots(page, "many")).to_have_count(3, timeout=WAIT_MS)  # two models and the calibration
    expect(page.locator("#compare-many-plots")).to_be_in_viewport(timeout=WAIT_MS)
    table = page.get_by_role("region", name="Best text of each image by each column")
    expect(table.locator("tbody tr")).to_have_count(len(EXAMPLE))
    expect(table).to_contain_text("✓ The face of a tabby cat")
    for plot in page.locator("#compare-many-plots figure").all():
        inner, outer = plot.locator(".main-svg").first.bounding_box(), plot.bounding_box()
        assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
    expect_no_sideways_scrolling(page)


def test_a_heatmap_answers_the_pointer_and_the_keyboard(open_page):
    page = open_tab(open_page, "Many images")
    page.locator("#compare-many-example").click()
    expect(plots(page, "many")).to_have_count(3, timeout=WAIT_MS)
    page.wait_for_timeout(1000)  # it scrolls to itself
    heatmap = page.locator("#compare-many-plots .plot").first
    box = heatmap.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 24, box["y"] + box["height"] / 24)
    tip = page.locator("#compare-many-plots .plot-tip").first
    expect(tip).to_be_visible(timeout=WAIT_MS)
    expect(tip).to_contain_text("1. cat.jpg")
    expect(tip).to_contain_text("1. “The face of a tabby cat")
    expect(tip).to_contain_text("its own text")
    assert "cosine 0." in tip.inner_text()
    assert tip.locator("img").get_attribute("src").startswith("data:image/jpeg")

    score = page.get_by_role("button", name="Score %").first
    cosine = page.get_by_role("button", name="Cosine").first
    expect(score).to_have_attribute("aria-pressed", "true")
    score.focus()
    page.keyboard.press("Tab")
    expect(cosine).to_be_focused()
    page.keyboard.press("Enter")
    expect(cosine).to_have_attribute("aria-pressed", "true")
    expect(score).to_have_attribute("aria-pressed", "false")
    page.get_by_role("region", name="Best text of each image by each column").focus()


def test_dropped_files_are_compared_and_kept(open_page, tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    (tmp_path / "cat.txt").write_text("A <b>tabby</b> cat")
    images = [GALLERY_DIR / "images" / name for name in ("cat.jpg", "coffee.jpg")]
    page = open_tab(open_page, "Many images")
    with page.expect_response(lambda response: "/upload" in response.url):
        page.locator("#compare-many-files input[type=file]").set_input_files(
            [*images, tmp_path / "cat.txt", tmp_path / "broken.jpg"]
        )
    expect(page.locator("#compare-many-files")).to_contain_text("broken")
    page.locator("#compare-many-run").click()
    tables = page.locator("#compare-many-tables")
    expect(tables).to_contain_text("Left out: 'broken.jpg' is not a JPEG, PNG", timeout=WAIT_MS)
    expect(tables).to_contain_text("1 of 2 images have no text of their own among these")
    expect(tables).to_contain_text("A <b>tabby</b> cat")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").first.click()
    content = json.loads(download.value.path().read_text("utf-8"))
    assert content["texts"] == ["A <b>tabby</b> cat"]
    assert content["provenance"]["created_utc"]


@EVERY_SCREEN
def test_a_committed_record_is_charted_with_its_origin(open_page, screen):
    page = open_tab(open_page, "Engines", **screen)
    table = page.locator("#compare-engines-table")
    expect(table).to_contain_text("Committed record towers-", timeout=WAIT_MS)  # of the default model
    page.locator("#compare-engines-model input").click()
    page.get_by_role("option", name="lit-mini", exact=True).click()
    expect(table).to_contain_text("No committed record has times of lit-mini", timeout=WAIT_MS)
    expect(page.locator("#compare-engines-plots")).to_contain_text("There is no chart")
    page.locator("#compare-engines-model input").click()
    page.get_by_role("option", name=RECORDED).click()
    expect(table).to_contain_text("Committed record towers-", timeout=WAIT_MS)
    expect(plots(page, "engines")).to_have_count(1, timeout=WAIT_MS)
    expect(table.get_by_text("✓ passed").first).to_be_visible()
    expect(table.get_by_text("✗ failed").first).to_be_visible()
    expect(page.locator("#compare-engines-estimate")).to_contain_text("does not offer")
    expect_no_sideways_scrolling(page)


def workers(server_address):
    """Return the processes that the server started to measure."""
    port = int(server_address.rpartition(":")[2])
    (server,) = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.laddr.port == port and each.status == "LISTEN"
    }
    found = []
    for each in psutil.Process(server).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends meanwhile; a zombie has ended
            if "benchmark_worker" in str(each.cmdline()):
                found.append(each)
    return found


def test_a_measurement_says_how_long_it_takes_and_can_be_stopped(open_page, server):
    page = open_tab(open_page, "Engines")
    status, model = page.locator("#compare-engines-status"), page.locator("#compare-engines-model input")
    estimate = page.locator("#compare-engines-estimate")
    expect(estimate).to_contain_text("Takes about", timeout=WAIT_MS)
    expect(model).to_be_enabled()
    page.locator("#compare-engines-run").click()
    expect(status).to_contain_text("Measuring onnx-fp32, 1 of", timeout=WAIT_MS)
    for _ in range(300):  # on a busy machine the first one starts late
        if workers(server):
            break
        page.wait_for_timeout(200)
    assert workers(server)
    expect(model).to_be_disabled()  # its rows are still to come
    page.get_by_label("Held-out pictures").click()
    page.get_by_role("option", name="32").click()
    expect(estimate).to_contain_text("32 held-out pictures", timeout=WAIT_MS)
    expect(status).to_contain_text("Measuring")
    page.locator("#compare-engines-stop").click()
    expect(status).to_contain_text("Stopped", timeout=WAIT_MS)
    expect(model).to_be_enabled(timeout=WAIT_MS)
    for _ in range(50):
        if not workers(server):
            break
        page.wait_for_timeout(200)
    assert not workers(server)


@pytest.mark.timeout(600)  # an engine is measured for real
def test_a_measurement_can_be_left_for_another_model_when_it_is_done(open_page):
    page = open_tab(open_page, "Engines")
    model = page.locator("#compare-engines-model input")
    page.get_by_label("Held-out pictures").click()
    page.get_by_role("option", name="32").click()
    page.get_by_label("Engines to measure").click()
    page.get_by_role("option", name="onnx-fp32", exact=True).click()
    page.keyboard.press("Escape")
    page.locator("#compare-engines-run").click()
    table = page.locator("#compare-engines-table")
    expect(table).to_contain_text("siglit-mini, 32 held-out pictures", timeout=4 * WAIT_MS)
    expect(page.locator("#compare-engines-status")).to_contain_text("Measured 1 engine in", timeout=WAIT_MS)
    expect(model).to_be_enabled(timeout=WAIT_MS)
    model.click()
    page.get_by_role("option", name=RECORDED).click()
    expect(table).to_contain_text(f"{RECORDED}. Committed record", timeout=WAIT_MS)
    expect(page.locator("#compare-engines-source")).to_be_hidden()
