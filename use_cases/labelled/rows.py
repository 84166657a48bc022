"""Zero-shot and calibration results as a record's settings and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from use_cases.labelled.accuracy import Accuracy, Difference
from use_cases.labelled.calibration import Calibration
from use_cases.labelled.calibration_metrics import NUM_BINS, NUM_HALVES
from use_cases.labelled.comparison import DatasetFacts
from use_cases.labelled.items import pack_ids
from use_cases.labelled.labelled import SEED
from use_cases.labelled.metrics import MIRRORED
from use_cases.published import published_accuracy
from use_cases.resampling import INTERVALS, Estimate

_BASIC = "; basic bootstrap intervals of {}, which small datasets give too high"
CALIBRATION_INTERVALS = (
    f"{INTERVALS}{_BASIC.format('ECE')}; Wilson score intervals of the reliability curve, over the images of"
    " a bin"
)
MAX_LEFT_OUT = 1_000  # images that a record names; all are counted


def accuracy_settings(accuracy: Accuracy) -> dict[str, Any]:
    """Return what else decides the numbers of a zero-shot record."""
    models = dict.fromkeys(model.subject.model for model in accuracy.models)
    published = [asdict(found) for model in models if (found := published_accuracy(model))]
    return {
        **_dataset_settings(accuracy.facts),
        "intervals": accuracy_intervals(accuracy),
        "chance": dict(accuracy.chance),
        "ties": "a wrong label with the same score ranks first; average precision takes ties together",
        "published": published,  # others' numbers on other images, to hold these against
    }


def calibration_settings(calibration: Calibration) -> dict[str, Any]:
    """Return what else decides the numbers of a calibration record."""
    return {
        **_dataset_settings(calibration.facts),
        "intervals": CALIBRATION_INTERVALS,
        "bins": f"{NUM_BINS} of equal width, each with its upper edge; {NUM_BINS} of equal mass where said",
        "num_single": calibration.num_single,
        "none_of_these": f"half of the labels left out, {NUM_HALVES} times, seed {SEED}",
    }


def accuracy_intervals(accuracy: Accuracy) -> str:
    """Return how the intervals of a zero-shot record were made."""
    return f"{INTERVALS}{'' if set(MIRRORED).isdisjoint(accuracy.metrics) else _BASIC.format('mAP')}"


def accuracy_rows(accuracy: Accuracy) -> list[dict[str, Any]]:
    """Return a row for each engine, and one for the difference between the first and each other one."""
    rows: list[dict[str, Any]] = [
        {
            "measurement": "zero-shot",
            **asdict(model.subject),
            **{way: _plain(estimates) for way, estimates in model.estimates.items()},
            "items": dict(model.items),
        }
        for model in accuracy.models
    ]
    return rows + [_difference(difference) for difference in accuracy.differences]


def calibration_rows(calibration: Calibration) -> list[dict[str, Any]]:
    """Return a row for each engine and each kind of prediction."""
    rows: list[dict[str, Any]] = []
    for model in calibration.models:
        for name, view in model.views.items():
            row = {
                "measurement": name,
                **asdict(model.subject),
                **_plain(view.estimates),
                "reliability": [asdict(each) for each in view.reliability],
                "items": view.items,
            }
            rows.append(row)
        if model.none_of_these:
            rows.append(
                {"measurement": "none_of_these", **asdict(model.subject), **_plain(model.none_of_these)}
            )
    return rows


def _dataset_settings(facts: DatasetFacts) -> dict[str, Any]:
    return {
        "dataset": facts.name,
        "dataset_sha256": facts.sha256,
        "num_images": len(facts.digests),
        "image_ids": pack_ids(facts.digests),
        "labels": list(facts.labels),
        "is_single": facts.is_single,
        "notes": list(facts.notes),
        "num_left_out": len(facts.left_out),
        "left_out": dict(list(facts.left_out.items())[:MAX_LEFT_OUT]),
        "times": "by the clock, of one run",
    }


def _difference(difference: Difference) -> dict[str, Any]:
    first, other = difference.first, difference.other
    return {
        "measurement": "difference",
        "model": first.model,
        "engine": first.engine,
        "minus": {"model": other.model, "engine": other.engine},
        **{way: _plain(estimates) for way, estimates in difference.estimates.items()},
    }


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}
