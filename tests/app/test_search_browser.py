"""The search tab in headless Chromium: a gallery of one's own, searches, clicks, keys, the map, a phone."""

import itertools

import pytest
from playwright.sync_api import expect

from app.ui.search_form import EXAMPLES
from engines.gallery import GALLERY_DIR
from tests.app.chromium import NEEDS_CHROMIUM, WAIT_MS

pytestmark = NEEDS_CHROMIUM
PICTURES = [
    GALLERY_DIR / "images" / name
    for name in (
        "cat.jpg",
        "carcassonne.jpg",
        "clownfish.jpg",
        "chair.jpg",
        "coffee.jpg",
        "green-bicycle.png",
    )
]
_numbers = itertools.count()


@pytest.fixture
def open_gallery(open_page, tmp_path):
    """Return a function that opens the tab and makes a gallery by dropping pictures."""
    (tmp_path / "cat.txt").write_text("A tabby cat")
    (tmp_path / "broken.jpg").write_text("no picture")

    def open_gallery(**options):
        page = open_page(**options)
        page.get_by_role("tab", name="Search").click()
        page.get_by_role("button", name="Add your own images").click()
        name = f"mine-{next(_numbers)}"
        page.get_by_label("Gallery name").fill(name)
        with page.expect_response(lambda response: "/upload" in response.url):
            page.locator("#search-files input[type=file]").set_input_files(
                [*PICTURES, tmp_path / "cat.txt", tmp_path / "broken.jpg"]
            )
        expect(page.locator("#search-files")).to_contain_text("broken")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_text(f"The gallery “{name}” is up to date.")).to_be_visible(timeout=WAIT_MS)
        return page

    return open_gallery


def text_box(page):
    return page.get_by_label("What the image shows")


def column(page, model="siglit-mini"):
    return page.locator(f'#search-results section[data-model="{model}"]')


def cards(page, model="siglit-mini"):
    return column(page, model).locator("button")


def search_for(page, text):
    text_box(page).fill(text)
    text_box(page).press("Enter")
    expect(cards(page).first).to_be_visible(timeout=WAIT_MS)


def expect_first(page, id_, model="siglit-mini"):
    expect(cards(page, model).first).to_have_attribute("data-id", id_, timeout=WAIT_MS)


def expect_no_sideways_scrolling(page):
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


def test_dropped_pictures_are_found_by_text_then_by_a_click_on_one(open_gallery):
    page = open_gallery()
    status = page.locator("#search-status")
    expect(status).to_contain_text("7 of 7")
    expect(status).to_contain_text("6 added · 1 unusable")
    status.get_by_text("Files that could not be used: 1").click()
    expect(status.get_by_text("broken.jpg")).to_be_visible()
    search_for(page, "a cat")
    expect_first(page, "cat.jpg")
    expect_first(page, "cat.jpg", "lit-mini")
    expect(cards(page).first).to_contain_text("A tabby cat")
    expect(page.get_by_text("6 of 6 images are in both")).to_be_visible()
    expect(column(page)).to_contain_text("exact search over 6 images")
    cards(page).nth(3).click()
    chip = page.locator(".chip")
    expect(chip).to_be_visible(timeout=WAIT_MS)
    expect(text_box(page)).to_have_value("")
    expect(cards(page).first).to_contain_text("1.000")  # itself
    chip.get_by_role("button", name="Stop searching by this image").click()
    expect(page.get_by_text("Describe a picture")).to_be_visible()
    page.get_by_role("button", name="Remove gallery").click()
    expect(page.get_by_text("with its 6 images")).to_be_visible()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_label("Gallery", exact=True)).to_have_value("demo")


def test_an_uploaded_picture_finds_its_like_and_its_texts(open_gallery):
    page = open_gallery()
    page.locator("#search-image input[type=file]").set_input_files(PICTURES[4])
    expect_first(page, "coffee.jpg")
    page.get_by_label("Texts", exact=True).check()
    page.get_by_label("Texts to choose from").fill("a cat\na cup of coffee\na chair")
    page.get_by_role("button", name="Search", exact=True).click()
    best = cards(page).first
    expect(best).to_have_attribute("data-text", "a cup of coffee", timeout=WAIT_MS)
    best.click()
    expect_first(page, "coffee.jpg")
    expect(text_box(page)).to_have_value("a cup of coffee")


def test_the_keyboard_reaches_a_result_and_searches_by_it(open_gallery):
    page = open_gallery()
    search_for(page, "a castle")
    expect_first(page, "carcassonne.jpg")
    label = cards(page).first.get_attribute("aria-label")
    assert label.startswith("Rank 1: carcassonne.jpg, ")
    cards(page).first.focus()
    page.keyboard.press("Tab")
    expect(cards(page).nth(1)).to_be_focused()
    outline = cards(page).nth(1).evaluate("card => getComputedStyle(card).outlineStyle")
    assert outline == "solid"
    wanted = cards(page).nth(1).get_attribute("data-id")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_be_visible(timeout=WAIT_MS)
    expect_first(page, wanted)


def test_where_nothing_is_found_a_sentence_says_why(open_gallery):
    page = open_gallery()
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Caption contains").fill("zebra")
    text_box(page).fill("a cat")
    text_box(page).press("Enter")
    expect(page.get_by_text("None of the 6 images meets the filter")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("#search-results button")).to_have_count(0)
    page.get_by_label("Caption contains").fill("tabby")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(cards(page)).to_have_count(1, timeout=WAIT_MS)
    expect(column(page)).to_contain_text("exact search over 1 of 6 images")


def test_a_point_on_the_map_shows_its_picture_and_searches_by_it(open_gallery):
    page = open_gallery()
    search_for(page, "a cat")
    page.get_by_role("button", name="Map of the gallery").click()
    found = page.locator("#search-map .scatterlayer .point")
    expect(found).to_have_count(6, timeout=WAIT_MS)
    expect(page.locator("#search-map .map-note")).to_contain_text("6 images")
    expect(page.locator("#search-map .scatterlayer .textpoint")).to_have_count(6)  # all are results
    found.first.scroll_into_view_if_needed()
    box = found.first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    tip = page.locator("#search-map .map-tip")
    expect(tip).to_be_visible(timeout=WAIT_MS)
    assert tip.locator("img").get_attribute("src").startswith("data:image/jpeg")
    shown = tip.locator("span").inner_text()
    page.mouse.click(x, y)
    expect(page.locator(".chip")).to_contain_text(shown, timeout=WAIT_MS)


def test_on_a_phone_results_come_into_view_and_nothing_scrolls_sideways(open_gallery):
    page = open_gallery(width=390, height=844, color_scheme="dark")
    expect(page.locator("#search-status")).to_be_in_viewport()
    page.locator("#search-examples button").nth(EXAMPLES.index("a bicycle")).click()
    expect_first(page, "green-bicycle.png")
    expect(cards(page).first).to_be_in_viewport(timeout=WAIT_MS)
    expect_no_sideways_scrolling(page)
    page.get_by_role("button", name="Map of the gallery").click()
    expect(page.locator("#search-map .scatterlayer .point")).to_have_count(6, timeout=WAIT_MS)
    expect_no_sideways_scrolling(page)
