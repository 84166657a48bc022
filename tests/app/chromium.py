"""Headless Chromium for the tests of the page."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium")
NEEDS_CHROMIUM = [
    pytest.mark.model,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]
# Colours change nothing of what fits, so each of them is seen on one of the screens.
EVERY_SCREEN = pytest.mark.parametrize(
    "screen", [{}, {"width": 390, "height": 844, "color_scheme": "dark"}], ids=["desktop", "phone-dark"]
)
WAIT_MS = 60_000  # a busy machine may be slow; nothing waits longer than it must
