"""Take the README's screenshots of a running app: python -m tests.app.screenshots [URL]."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent.parent.parent / "app" / "ui" / "screenshots"


def main(url: str) -> None:
    """Use each tab on a desktop, and the comparison on a phone too; save the pages."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
        page.goto(url)
        page.locator("#zero-shot-examples button.gallery-item").first.click()
        page.locator(".card").nth(1).wait_for()
        page.wait_for_timeout(500)
        page.locator("#zero-shot-examples button.gallery-item").first.click()  # once more: warm, labels known
        page.wait_for_timeout(2000)
        page.evaluate("scrollTo(0, 0)")  # an answer scrolls to itself
        page.wait_for_timeout(500)
        page.screenshot(path=FOLDER / "zero-shot.png")
        page.get_by_role("tab", name="Search").click()
        for _ in range(2):  # the second time warm
            page.locator("#search-examples button").nth(2).click()
            page.locator(".found button").first.wait_for()
            page.wait_for_timeout(2000)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)
        page.screenshot(path=FOLDER / "search.png")
        _compare(page)
        page.screenshot(path=FOLDER / "compare.png")
        page.get_by_role("tab", name="Many images").click()
        page.locator("#compare-many-example").click()
        page.locator("#compare-many-tables table").first.wait_for()
        page.wait_for_timeout(3000)  # the charts are drawn
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)
        page.screenshot(path=FOLDER / "compare-many.png")
        _load(page)
        page.screenshot(path=FOLDER / "latency.png")
        phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
        phone.goto(f"{url}/?__theme=dark")
        _compare(phone)
        phone.locator("#compare-one-results").scroll_into_view_if_needed()
        phone.wait_for_timeout(1000)
        phone.screenshot(path=FOLDER / "compare-phone.png")
        browser.close()


def _load(page: Page) -> None:
    page.get_by_role("tab", name="Latency").click()
    page.get_by_text("Make load, change the worker's limits").click()
    page.locator("#latency-load").click()
    page.locator("#latency-loads table").wait_for(timeout=60_000)
    page.wait_for_timeout(5000)  # the charts are drawn
    page.locator("#latency-shares").evaluate("place => place.scrollIntoView()")
    page.wait_for_timeout(500)


def _compare(page: Page) -> None:
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-one-examples button.gallery-item").first.click()
    page.locator("#compare-one-results table").first.wait_for()
    page.wait_for_timeout(2000)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860")
