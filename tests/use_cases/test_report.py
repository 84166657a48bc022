"""The report: what the committed files show is what the records say, and statistics that can be checked."""

import json
import re
from xml.etree import ElementTree

import pytest

from use_cases.report.chart import Chart, Point, Series, slug
from use_cases.report.datasets import name_datasets
from use_cases.report.files import differences, distinct_charts, report_files, write_files
from use_cases.report.general import general_table
from use_cases.report.kind import Entry, processor, rounds_facts
from use_cases.report.kinds import KINDS, kind_of
from use_cases.report.labels import Mark, place_labels
from use_cases.report.overview import kinds_in_order
from use_cases.report.page import draw_page
from use_cases.report.readme import BLOCKS, fill_readme
from use_cases.report.scale import Scale
from use_cases.report.seeds import METRICS_PATH, Mean, compare_losses, seeds_summary
from use_cases.report.svg import draw_svg
from use_cases.report.tradeoff import Candidate, draw_tradeoff
from use_cases.resampling import NO_DIFFERENCE
from use_cases.results import RESULTS_DIR, InvalidRecordError, read_record, record_paths

README = RESULTS_DIR.parent / "README.md"
COMMITTED = record_paths()


@pytest.fixture(scope="module")
def entries():
    return [
        Entry(path.stem, record, model)
        for path in COMMITTED
        for record in [read_record(path)]
        for model in dict.fromkeys(row["model"] for row in record["results"])
    ]


def record(kind="novelty", created="2026-01-01T00:00:00Z", **row):
    return {
        "kind": kind, "created_utc": created, "rounds": 1, "clean_rounds": 0, "settings": {}, "threads": 2,
        "commit": "0123456", "machine": {"model": "CPU", "cores": 2.0},
        "results": [{"model": "m", "engine": "e", **row}],
    }  # fmt: skip


def test_every_committed_table_and_chart_is_that_of_the_records():
    found = differences(report_files(RESULTS_DIR, README), RESULTS_DIR)
    assert not found, "run python -m app.cli.report\n" + "\n\n".join(found)


def test_an_edited_number_in_the_readme_is_seen(tmp_path):
    text = README.read_text("utf-8")
    table = next(
        block
        for name, block in re.findall(r"report:([a-z-]+) -->\n(.*?)<!--", text, re.DOTALL)
        if name == "engines"
    )
    copy = tmp_path / "README.md"
    copy.write_text(
        text.replace(table, re.sub(r"\d(?=x\))", lambda digit: str(9 - int(digit[0])), table, count=1)),
        "utf-8",
    )
    (found,) = differences(report_files(RESULTS_DIR, copy), RESULTS_DIR)
    removed, added = (line for line in found.splitlines() if re.match(r"[-+]\| `onnx-fp32`", line))
    assert removed[1:] != added[1:]


def test_running_it_twice_changes_nothing(tmp_path):
    results, readme = tmp_path / "results", tmp_path / "README.md"
    results.mkdir()
    for path in COMMITTED:
        (results / path.name).write_bytes(path.read_bytes())
    readme.write_text(README.read_text("utf-8"))
    assert write_files(report_files(results, readme), results)
    (results / "plots" / "of-a-removed-record.svg").write_text("<svg/>")
    assert differences(report_files(results, readme), results) == [
        "of-a-removed-record.svg belongs to no record."
    ]
    assert [path.name for path in write_files(report_files(results, readme), results)] == [
        "of-a-removed-record.svg"
    ]
    assert write_files(report_files(results, readme), results) == []
    assert (results / "README.md").read_text("utf-8") == (RESULTS_DIR / "README.md").read_text("utf-8")


def test_links_of_the_page_lead_somewhere():
    page = (RESULTS_DIR / "README.md").read_text("utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page)
    assert len(links) > len(COMMITTED)
    assert [link for link in links if not (RESULTS_DIR / link).exists()] == []


@pytest.mark.parametrize(
    "change", ["<!-- report:weather -->\n<!-- /report -->\n", "<!-- report:load -->\n<!-- /report -->\n"]
)
def test_a_readme_with_other_blocks_is_refused(change, entries):
    with pytest.raises(InvalidRecordError, match=r"README.md must have one block"):
        fill_readme(README.read_text("utf-8") + change, entries)


def test_a_block_without_a_record_is_refused(entries):
    with pytest.raises(InvalidRecordError, match="No record of kind 'load'"):
        fill_readme(README.read_text("utf-8"), [each for each in entries if each.record["kind"] != "load"])


def test_a_quick_try_takes_no_whole_record_s_place_in_the_readme(entries):
    towers = next(each for each in entries if each.record["kind"] == "towers")
    quick = towers.record | {"created_utc": "2099-01-01T00:00:00Z", "results": towers.rows[:1]}
    shown = BLOCKS["engines"]([*entries, Entry("quick", quick, towers.model)])
    assert shown == BLOCKS["engines"](entries)
    whole = towers.record | {"created_utc": "2099-01-01T00:00:00Z"}
    assert "2099-01-01" in BLOCKS["engines"]([*entries, Entry("whole", whole, towers.model)])


def test_a_kind_without_a_module_of_its_own_is_shown_in_general_terms():
    rows = record(
        top1={"value": 0.5, "low": 0.25, "high": 0.75},
        times={"image": {"median": 1.25}},
        raw="x" * 99,
        bins=[1, 2],
        reason=None,
        note="a|b",
    )["results"]
    assert general_table(rows).splitlines() == [
        "| engine | top1 | times.image | reason | note |",
        "|---|---|---|---|---|",
        "| e | 0.5 [0.25, 0.75] | 1.25 | - | a\\|b |",
    ]
    assert kind_of("novel-kind").title == "Novel kind"
    assert rounds_facts(record()).startswith("Measured once;")


def test_known_kinds_come_first():
    entries = [Entry(kind, record(kind), "m") for kind in ("novelty", *reversed(KINDS), "ablation")]
    assert kinds_in_order(entries) == [*KINDS, "ablation", "novelty"]


def test_the_losses_are_compared_as_the_recipe_summarized_them():
    losses = compare_losses()
    metrics = json.loads(METRICS_PATH.read_text("utf-8"))
    assert losses.keys() == metrics["held_out"]["siglit-mini"].keys()
    for name, loss in losses.items():
        for model, mean in (("siglit-mini", loss.sigmoid), ("lit-mini", loss.softmax)):
            summary = metrics["held_out"][model][name]
            assert mean.mean == pytest.approx(summary["mean"], abs=1e-4)
            assert mean.half_width == pytest.approx(summary["half_width_95"], abs=1e-4)
        assert len(loss.difference.values) == metrics["num_seeds"]


def test_the_paired_difference_is_that_of_a_t_test():
    # scipy.stats.ttest_rel([0.5, 0.7, 0.6], [0.4, 0.5, 0.5]).confidence_interval() is (-0.01009, 0.27676).
    difference = Mean.over([0.1, 0.2, 0.1])
    assert difference.mean == pytest.approx(0.13333, abs=1e-5)
    assert difference.mean - difference.half_width == pytest.approx(-0.01009, abs=2e-4)
    assert difference.holds_zero
    assert not Mean.over([0.1, 0.11, 0.1]).holds_zero


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, NO_DIFFERENCE), (0.3, "sigmoid higher"), (-0.3, "softmax higher")]
)
def test_a_verdict_is_given_only_where_the_interval_leaves_zero(tmp_path, shift, verdict):
    metrics = json.loads(METRICS_PATH.read_text("utf-8"))
    by_seed = metrics["held_out_by_seed"]
    by_seed["siglit-mini"] = [
        {name: value + shift for name, value in run.items()} for run in by_seed["lit-mini"]
    ]
    if not shift:  # a little noise, with the mean at zero
        for run, noise in zip(by_seed["siglit-mini"], (-0.01, 0.0, 0.01), strict=True):
            run.update({name: value + noise for name, value in run.items()})
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics))
    losses = list(compare_losses(path).values())
    assert {loss.verdict for loss in losses} == {verdict}
    assert seeds_summary(losses).startswith(
        f"With 3 seeds for each loss: {NO_DIFFERENCE} in any of the 10 metrics" if not shift
        else "With 3 seeds for each loss: 10 of 10 metrics differ"
    )  # fmt: skip


def estimate(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def on_gallery(kind, *rows):
    settings = {"dataset": "gallery", "dataset_sha256": "a" * 64, "num_images": 9}
    return name_datasets(
        [
            Entry(row["model"], record(kind) | {"settings": settings, "results": [row]}, row["model"])
            for row in rows
        ]
    )


def test_zero_shot_is_drawn_with_intervals_and_against_time():
    rows = [
        {
            "measurement": "zero-shot", "model": model, "engine": "e", "image_ms": ms,
            **{way: {"top1": estimate(top1), "top5": estimate(0.9)} for way in ("label_alone", "ensemble")},
        }
        for model, ms, top1 in (("fast", 5, 0.4), ("slow", 9, 0.3))
    ]  # fmt: skip
    metrics, tradeoff = KINDS["zero-shot"].charts(on_gallery("zero-shot", *rows))
    assert metrics.rows[:2] == ("top-1, the label alone", "top-1, prompt templates")
    assert [series.name for series in metrics.series] == ["fast on e", "slow on e"]
    first = metrics.series[0].points[0]
    assert (first.x, first.low, first.high) == pytest.approx((40, 30, 50))
    assert [[point.label for point in series.points] for series in tradeoff.series] == [
        ["fast on e"],
        ["slow on e"],
    ]
    assert len(KINDS["zero-shot"].charts(on_gallery("zero-shot", rows[0] | {"image_ms": None}))) == 1


def test_calibration_is_drawn_as_reliability_curves_beside_the_diagonal():
    bins = [
        {"low": 0, "high": 0.5, "number": 4, "probability": 0.2, "right": estimate(0.3)},
        {"low": 0.5, "high": 1, "number": 2, "probability": 0.8, "right": estimate(0.7)},
    ]
    rows = [
        {"measurement": measurement, "model": "m", "engine": "e", "reliability": bins}
        for measurement in ("sigmoid_pairs", "softmax_top1")
    ]
    entry = Entry(
        "s",
        record("calibration") | {"settings": {"dataset": "gallery", "num_images": 9}, "results": rows},
        "m",
    )
    charts = KINDS["calibration"].charts(name_datasets([entry]))
    assert [drawn.name for drawn in charts] == [
        "reliability-sigmoid-pairs-gallery-9-images",
        "reliability-softmax-top1-gallery-9-images",
    ]
    curve, diagonal = charts[0].series
    assert [(point.x, point.y) for point in curve.points] == [(0.2, 0.3), (0.8, 0.7)]
    assert [(point.x, point.y) for point in diagonal.points] == [(0, 0), (1, 1)]
    assert diagonal.style == "dashed"


def chart(**changes):
    points = (Point(1, 0, 0.5, 1.5, "<a> & b"), Point(100, 1, 90, 110))
    series = (Series("s", points), Series("t", points, "line"))
    plain = {
        "name": "c",
        "title": "A < B",
        "note": "n",
        "x_title": "x",
        "series": series,
        "rows": ("r1", "r2"),
    }
    return Chart(**plain | changes)


def test_charts_whose_names_would_be_the_same_are_told_apart_by_their_titles():
    cats, dogs = (chart(name="recall", title=title) for title in ("猫", "犬"))
    other = chart(name="other")
    drawn = distinct_charts({"retrieval": [cats, dogs], "towers": [other]})
    first, second = [each.name for each in drawn["retrieval"]]
    assert first != second
    assert {first[:7], second[:7]} == {"recall-"}
    assert drawn["towers"] == [other]


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("rows", [("r1", "r2"), ()])
def test_an_svg_is_xml_with_everything_inside(log_x, rows):
    root = ElementTree.fromstring(draw_svg(chart(log_x=log_x, rows=rows)))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    circles = root.findall("{*}circle")
    assert len(circles) == 2 + 4  # the legend's and the points
    assert all(0 < float(c.attrib["cx"]) < width and 0 < float(c.attrib["cy"]) < height for c in circles)
    texts = [text.text for text in root.findall("{*}text")]
    assert texts.count("<a> & b") == 2
    assert "A < B" in texts


def test_a_model_that_finds_nothing_is_drawn():
    nothing = Point(0, 0, 0, 0, "0.0")
    root = ElementTree.fromstring(draw_svg(chart(series=(Series("s", (nothing,)),), zero=True)))
    assert [circle.attrib["cx"] != "nan" for circle in root.findall("{*}circle")] == [True]
    assert draw_page(chart(series=(Series("s", (nothing,)),), zero=True))


def test_a_page_is_small_and_names_the_script_with_its_checksum():
    page = draw_page(chart())
    assert len(page) < 10_000
    assert re.search(r'src="https://cdn.plot.ly/plotly-[\d.]+min.js" integrity="sha256-', page)
    assert draw_page(chart()) == page


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ([0, 10], False, ["0", "2", "4", "6", "8", "10"]),
        ([0.95, 1.0], False, ["0.95", "0.96", "0.97", "0.98", "0.99", "1.00"]),
        ([1, 100], True, ["1", "2", "5", "10", "20", "50", "100"]),
        ([23.5, 26.9], True, ["24", "25", "26", "27"]),
        ([5, 5], False, ["4.8", "4.9", "5.0", "5.1", "5.2"]),
        ([0, 0], False, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([1, 1], True, ["0.95", "1.00", "1.05"]),
    ],
)
def test_ticks_are_round(values, log, ticks):
    assert [text for _, text in Scale.over(values, 0, 100, log=log).ticks()] == ticks


def test_labels_cover_neither_one_another_nor_the_edges():
    marks = [
        Mark("torch-bf16", 90.0, 90.0, 50.0),
        Mark("torch-fp32", 92.0, 92.0, 50.0),
        Mark("", 5.0, 5.0, 50.0),
    ]
    placed = list(place_labels(marks, 0, 100))
    assert [label.text for label in placed] == ["torch-bf16", "torch-fp32"]
    assert all(label.x >= 0 and label.x + 6 * len(label.text) <= 100 for label in placed)
    assert abs(placed[0].y - placed[1].y) >= 13


def test_the_front_is_what_nothing_beats():
    drawn = draw_tradeoff(
        [
            Candidate("slow", 9, 0.9), Candidate("best", 3, 0.9),
            Candidate("fast", 1, 0.5), Candidate("bad", 4, 0.4),
        ],
        name="n", title="t", note="", x_title="ms", y_title="accuracy",
    )  # fmt: skip
    assert [[point.label for point in series.points] for series in drawn.series] == [
        ["fast", "best"],
        ["slow", "bad"],
    ]


def test_a_chart_s_file_has_a_plain_name():
    assert slug("random:SigLIP base/16 (224)") == "random-siglip-base-16-224"
    assert slug("SigLIP base/16 (224)") == "siglip-base-16-224"


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        (["avx2", "avx512", "avx512_vnni", "fma"], "CPU with AVX-512 VNNI, 2 cores"),
        (["avx2", "fma"], "CPU with AVX2, 2 cores"),
        (["arm_neon"], "CPU with NEON, 2 cores"),
        ([], "CPU, 2 cores"),
    ],
)
def test_a_processor_is_named_with_its_widest_instructions(instructions, words):
    machine = {"model": "CPU", "cores": 2.0, "instructions": instructions}
    assert processor({"machine": machine}) == words
