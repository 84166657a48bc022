"""Searches that never end are asked again, and end with an error when that does not help."""

import asyncio

import pytest

from use_cases.retrieval import fetching
from use_cases.retrieval.fetching import fetch


class Search:
    """Hangs some times before it answers."""

    def __init__(self, hangs=0):
        self.hangs, self.asked = hangs, 0

    async def to_arrow(self):
        self.asked += 1
        if self.asked <= self.hangs:
            await asyncio.Event().wait()
        return "rows"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(fetching, "LIMITS_S", (0.02, 0.04))


def test_an_answer_comes_at_once():
    search = Search()
    assert fetch(search) == "rows"
    assert search.asked == 1


def test_a_search_that_hangs_is_asked_again(caplog):
    search = Search(hangs=1)
    assert fetch(search) == "rows"
    assert search.asked == 2
    assert "has not ended within 0.02 s" in caplog.text
    assert fetch(Search()) == "rows"  # the thread can search as before


def test_a_search_that_hangs_again_is_an_error():
    search = Search(hangs=9)
    with pytest.raises(TimeoutError, match=r"2 searches did not end, the last within 0.04 s"):
        fetch(search)
    assert search.asked == 2
