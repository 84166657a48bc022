"""The gate's budget: what leaves its band, what has none, and how the file changes."""

import json

import pytest

from engines.errors import InvalidInputError
from use_cases.gate.budget import (
    Limit,
    Quantity,
    check_writable,
    difference,
    judge,
    limit_of,
    read_budget,
    write_budget,
)

LIMITS = {"start": Limit("kernels", 10, 4, 20), "files": Limit("MB", 100, 60, 125)}


def verdicts(*quantities):
    return {each.name: (each.verdict, each.fails) for each in judge(quantities, LIMITS)}


def test_what_stays_in_its_band_passes_and_what_is_over_fails():
    start, files = Quantity("start", "kernels", 20), Quantity("files", "MB", 125.1)
    assert verdicts(start, files) == {"start": ("ok", False), "files": ("over", True)}


def test_what_is_under_its_band_only_asks_for_an_update():
    assert verdicts(Quantity("start", "kernels", 3.9), Quantity("files", "MB", 60))["start"] == (
        "under",
        False,
    )


def test_what_has_no_limit_or_was_not_measured_fails():
    judged = verdicts(Quantity("files", "MB", 100), Quantity("another", "MB", 1))
    assert judged == {"files": ("ok", False), "another": ("new", True), "start": ("gone", True)}


def test_the_file_keeps_the_limits(tmp_path):
    path = tmp_path / "budget.json"
    assert read_budget(path) == {}
    write_budget(path, LIMITS)
    assert read_budget(path) == LIMITS
    path.write_text("[]")
    with pytest.raises(InvalidInputError, match=r"budget\.json is no budget"):
        read_budget(path)


@pytest.mark.parametrize(
    "change",
    [
        {"high": "20"},
        {"high": float("nan")},
        {"high": float("inf")},
        {"high": 10**400},
        {"high": True},
        {"low": None},
        {"low": 21},
        {"unit": "ms"},
        {"unit": []},
        {"more": 1},
    ],
)
def test_a_limit_that_nothing_can_be_compared_with_is_refused(tmp_path, change):
    path = tmp_path / "budget.json"
    limit = {"unit": "kernels", "expected": 10, "low": 4, "high": 20}
    path.write_text(json.dumps({"limits": {"start": limit}}))
    assert read_budget(path) == {"start": LIMITS["start"]}
    path.write_text(json.dumps({"limits": {"start": limit | change}}))
    with pytest.raises(InvalidInputError, match=r"budget\.json is no budget"):
        read_budget(path)


def test_a_file_that_is_nested_too_deeply_is_no_budget(tmp_path):
    path = tmp_path / "budget.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InvalidInputError, match=r"budget\.json is no budget"):
        read_budget(path)


def test_a_place_that_cannot_be_used_is_one_sentence(tmp_path):
    with pytest.raises(InvalidInputError, match=r"cannot be read \(Is a directory\)"):
        read_budget(tmp_path)
    for write in (check_writable, lambda path: write_budget(path, LIMITS)):
        with pytest.raises(InvalidInputError, match=r"cannot be written \(Is a directory\)"):
            write(tmp_path)
        with pytest.raises(InvalidInputError, match=r"b\.json cannot be written \(No such file"):
            write(tmp_path / "missing" / "b.json")


def test_looking_whether_a_budget_can_be_written_changes_nothing(tmp_path):
    path = tmp_path / "budget.json"
    check_writable(path)
    assert not path.exists()
    write_budget(path, LIMITS)
    check_writable(path)
    assert read_budget(path) == LIMITS


def test_the_band_is_around_what_was_measured():
    assert limit_of(Quantity("start", "kernels", 12.34567)) == Limit("kernels", 12.35, 4.938, 24.69)


def test_the_difference_names_what_changes():
    after = {"start": LIMITS["start"], "new": Limit("MB", 1, 0.6, 1.25)}
    assert difference(LIMITS, after) == [
        "files: 100 MB (60 to 125) -> nothing",
        "new: nothing -> 1 MB (0.6 to 1.25)",
    ]
