"""The page in headless Chromium: examples, uploads, errors, phone width and dark mode."""

from playwright.sync_api import expect

from tests.app.chromium import EVERY_SCREEN, NEEDS_CHROMIUM, WAIT_MS
from tests.app.photos import photos

pytestmark = NEEDS_CHROMIUM


def card(page, model):
    return page.locator(".card", has=page.get_by_role("heading", name=model, exact=True))


def expect_best(page, model, label):
    expect(card(page, model).locator("li").first).to_contain_text(label, timeout=WAIT_MS)


def test_uploaded_photos_are_classified_one_after_the_other(open_page):
    page = open_page()
    remove = page.get_by_role("button", name="Remove Image").or_(page.get_by_label("Remove Image"))
    for path, labels, answer in (each.values for each in photos()):
        page.locator("input[type=file]").first.set_input_files(path)
        expect(remove).to_be_visible()
        page.get_by_label("Labels").fill(labels)
        page.get_by_role("button", name="Classify").click()
        expect_best(page, "siglit-mini", answer)
        expect(card(page, "siglit-mini")).to_contain_text("none of these")
        expect(card(page, "lit-mini")).not_to_contain_text("none of these")
        expect(card(page, "siglit-mini").locator(".stages")).to_contain_text("infer")
        remove.click()


@EVERY_SCREEN
def test_one_click_on_an_example_gives_the_answer(open_page, screen):
    page = open_page(**screen)
    expect(page.get_by_text("Drop a photo")).to_be_visible()
    page.locator("#zero-shot-examples button.gallery-item").nth(1).click()
    expect_best(page, "siglit-mini", "a lion")
    expect(card(page, "siglit-mini").locator("li").first).to_be_in_viewport(timeout=WAIT_MS)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0  # nothing to scroll sideways


def test_cosines_are_shown_on_demand(open_page):
    page = open_page()
    page.locator("#zero-shot-examples button.gallery-item").first.click()
    table = card(page, "siglit-mini").locator("table")
    expect(card(page, "siglit-mini")).to_be_visible()
    expect(table).to_be_hidden()
    card(page, "siglit-mini").get_by_text("Raw cosines and logits").click()
    expect(table).to_be_visible()


def test_errors_are_toasts_and_the_next_request_works(open_page, tmp_path):
    page = open_page()
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("There is no image")).to_be_visible()
    (tmp_path / "photo.jpg").write_text("only words")
    with page.expect_response(lambda response: "/upload" in response.url):
        page.locator("input[type=file]").first.set_input_files(tmp_path / "photo.jpg")
    expect(
        page.get_by_label("Remove Image").or_(page.get_by_role("button", name="Remove Image"))
    ).to_be_visible()
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("is not a JPEG, PNG")).to_be_visible()
    page.locator("#zero-shot-examples button.gallery-item").first.click()
    expect_best(page, "siglit-mini", "a cat")
    page.get_by_label("Labels").fill("")
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text("There are no labels")).to_be_visible()
    expect_best(page, "siglit-mini", "a cat")  # the answer from before is not lost
