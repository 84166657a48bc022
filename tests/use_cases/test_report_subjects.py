"""The report tells apart what differs, and shows the newest measurement of what does not."""

import re

from tests.use_cases.test_report import record
from use_cases.report.datasets import name_datasets
from use_cases.report.kind import Entry
from use_cases.report.kinds import KINDS, kind_of
from use_cases.report.subjects import latest


def test_of_each_subject_the_latest_record_counts():
    old, new = (Entry(str(year), record(created=f"{year}-01-01T00:00:00Z"), "m") for year in (2025, 2026))
    other = Entry("other", record(engine="f"), "m")
    assert latest([new, old, other], kind_of("novelty")) == [new, other]


def measured(stem, *engines, model="m", minus=(), dataset="d", sha="a" * 64, kind="retrieval", **settings):
    """Return a record's entry, the later the larger its stem is, with a row for each engine."""
    rows = [{"measurement": kind, "model": model, "engine": engine} for engine in engines]
    rows += [
        {
            "measurement": "difference",
            "model": model,
            "engine": engines[0],
            "minus": {"model": model, "engine": e},
        }
        for e in minus
    ]
    facts = {"dataset": dataset, "dataset_sha256": sha, "num_images": 9, **settings}
    content = record(kind, created=f"2026-01-0{stem}T00:00:00Z") | {"results": rows, "settings": facts}
    return Entry(str(stem), content, model)


def shown(*entries, kind="retrieval"):
    found = latest(name_datasets(entries), kind_of(kind))
    return {
        kind_of(kind).subject(entry): (entry.stem, [row["measurement"] for row in entry.rows])
        for entry in found
    }


def test_of_each_model_and_engine_the_newest_rows_count_whatever_else_was_measured_with_them():
    first = measured(1, "a", "b", minus=["b"])
    assert shown(first, measured(2, "b")) == {
        "m on `a`, d, 9 images": ("1", ["retrieval"]),  # its difference was to an older measurement of b
        "m on `b`, d, 9 images": ("2", ["retrieval"]),
    }
    assert shown(first, measured(2, "a", "b", "c")) == {
        "m on `a`, `b`, `c`, d, 9 images": ("2", ["retrieval"] * 3)
    }
    whole = ["retrieval", "retrieval", "difference"]
    assert shown(first, measured(2, "b", model="n"))["m on `a`, `b`, d, 9 images"] == ("1", whole)


def test_datasets_of_the_same_name_are_told_apart_by_their_hash():
    other = measured(2, "a", sha="b" * 64)
    old = measured(3, "a")
    del old.record["settings"]["dataset_sha256"]
    assert list(shown(measured(1, "a"), other, old)) == [
        "m on `a`, d, 9 images (aaaaaaaa)",
        "m on `a`, d, 9 images (bbbbbbbb)",
        "m on `a`, d, 9 images (measured 2026-01-03 00:00:00)",
    ]
    elsewhere = measured(2, "a", sha="b" * 64, kind="zero-shot")
    assert list(shown(measured(1, "a"))) == ["m on `a`, d, 9 images"]
    assert [each.dataset for each in name_datasets([measured(1, "a"), elsewhere])] == ["d, 9 images"] * 2


def test_prompts_that_are_not_the_models_own_are_part_of_what_was_measured():
    one = measured(2, "a", kind="zero-shot", templates=["a {label}"])
    two, other = (
        measured(stem, "a", kind="zero-shot", templates=["a {label}", last])
        for stem, last in ((3, "{label}"), (4, "the {label}"))
    )
    found = list(shown(measured(1, "a", kind="zero-shot", templates=[]), one, two, other, kind="zero-shot"))
    assert found[:2] == ["m on `a`, d, 9 images", "m on `a`, asked 'a {label}', d, 9 images"]
    assert re.fullmatch(r"m on `a`, asked with 2 templates \([0-9a-f]{8}\), d, 9 images", found[2])
    assert len(set(found)) == 4


def test_an_index_or_towers_record_takes_the_place_of_an_older_one_with_more_engines():
    assert [entry.stem for entry in latest([measured(1, "a", "b"), measured(2, "b")], KINDS["towers"])] == [
        "2"
    ]


def test_a_part_of_a_dataset_neither_replaces_the_whole_nor_shares_its_chart():
    whole, part = measured(1, "e", num_images=1000), measured(2, "e")
    assert list(shown(whole, part)) == ["m on `e`, d, 1,000 images", "m on `e`, d, 9 images"]
