"""The comparison on one image and the mistakes in headless Chromium: examples, links, keys, a phone."""

import re

from playwright.sync_api import expect

from engines.gallery import GALLERY_DIR
from tests.app.chromium import EVERY_SCREEN, NEEDS_CHROMIUM, WAIT_MS

pytestmark = NEEDS_CHROMIUM
COFFEE = GALLERY_DIR / "images" / "coffee.jpg"


def open_tab(page, inner=None):
    page.get_by_role("tab", name="Compare").click()
    if inner is None:
        return
    if not page.get_by_role("tab", name=inner).is_visible():  # on a phone it is in the menu
        page.locator(".overflow-menu button:visible").first.click()
        page.locator(".overflow-dropdown button:visible", has_text=inner).click()
    else:
        page.get_by_role("tab", name=inner).click()


def table(page):
    return page.locator("#compare-one-results table").first


def expect_answer(page, label):
    expect(table(page).locator("tbody th").first).to_have_text(label, timeout=WAIT_MS)


def expect_no_sideways_scrolling(page):
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


def run_example(page):
    open_tab(page)
    page.locator("#compare-one-examples button.gallery-item").nth(2).click()
    expect_answer(page, "a cup of coffee")


@EVERY_SCREEN
def test_an_example_shows_both_models_and_why_they_differ(open_page, screen):
    page = open_page(**screen)
    run_example(page)
    expect(page.locator("#compare-one-results .why")).to_contain_text("lit-mini")
    expect(table(page).locator("thead th")).to_have_count(3)
    expect(table(page)).to_contain_text("none of these")
    expect_no_sideways_scrolling(page)
    page.get_by_text("Sensitivity to the set of labels").click()
    expect(page.get_by_text("nothing moves").first).to_be_visible()
    page.get_by_text("Sensitivity to the prompt template").click()
    expect_no_sideways_scrolling(page)


def test_a_link_restores_the_inputs_and_the_tab(open_page, server):
    page = open_page()
    run_example(page)
    page.locator("#compare-one-labels textarea").fill("a cup of coffee\na bowl of soup")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(table(page).locator("tbody tr")).to_have_count(3, timeout=WAIT_MS)
    link = page.locator("a.share").get_attribute("href")
    page.goto(f"{server}/{link}")
    expect(page.locator("#compare-one-labels textarea")).to_have_value(
        "a cup of coffee\na bowl of soup", timeout=WAIT_MS
    )
    expect(page.locator("#compare-one-image img")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect_answer(page, "a cup of coffee")


def test_an_upload_is_compared_and_said_to_be_in_no_link(open_page):
    page = open_page()
    run_example(page)
    expect(page.locator("#compare-one-image-name input")).to_have_value("coffee.jpg")
    page.locator("#compare-one-image").get_by_role("button", name=re.compile("Clear|Remove")).click()
    with page.expect_response(lambda response: "/upload" in response.url):
        page.locator("#compare-one-image input[type=file]").set_input_files(COFFEE)
    expect(page.locator("#compare-one-image-name input")).to_have_value("")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("uploads cannot be linked")).to_be_visible(timeout=WAIT_MS)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "comparison.csv"
    assert download.value.path().read_text("utf-8").startswith("model,engine,label,rank")


def test_a_picture_of_the_gallery_on_two_engines_makes_a_column_each(open_page):
    page = open_page()
    open_tab(page)
    picture = page.locator("#compare-one-image-name input")
    picture.fill("carcassonne")
    picture.press("Enter")
    expect(page.locator("#compare-one-image img")).to_be_visible(timeout=WAIT_MS)
    page.locator("#compare-one-labels textarea").fill("a castle, a cat")
    page.locator("#compare-one-engines input").fill("torch-fp32")
    page.locator("#compare-one-engines input").press("Enter")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(table(page).locator("thead th")).to_have_count(5, timeout=WAIT_MS)
    expect_answer(page, "a castle")
    assert "image=carcassonne.jpg" in page.locator("a.share").get_attribute("href")
    assert "engine=torch-fp32" in page.locator("a.share").get_attribute("href")


def test_the_keyboard_reaches_the_table_and_the_downloads(open_page):
    page = open_page()
    run_example(page)
    region = page.locator("#compare-one-results [role=region]").first
    region.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="CSV")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(region).to_be_focused()
    assert region.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"


@EVERY_SCREEN
def test_mistakes_are_made_and_those_that_cannot_be_have_a_reason(open_page, screen):
    page = open_page(**screen)
    open_tab(page, "Preparation mistakes")
    with page.expect_response(lambda response: "/upload" in response.url):
        page.locator("#compare-mistakes-image input[type=file]").set_input_files(COFFEE)
    expect(page.locator("#compare-mistakes-image img")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Make the mistakes").click()
    results = page.locator("#compare-mistakes-results")
    expect(results.get_by_text("Padding without a mask").first).to_be_visible(timeout=WAIT_MS)
    expect(results.get_by_text("BGR instead of RGB").first).to_be_visible()
    results.get_by_text("mistakes that cannot be made here").first.click()
    expect(results.get_by_text("giving one is right").first).to_be_visible()
    expect_no_sideways_scrolling(page)


def test_errors_are_toasts_and_the_answer_stays(open_page):
    page = open_page()
    run_example(page)
    page.locator("#compare-one-labels textarea").fill("")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("There are no labels")).to_be_visible()
    expect_answer(page, "a cup of coffee")
