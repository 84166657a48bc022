"""A comparison of many images and texts to keep: as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from use_cases.comparison.calibration import CalibrationError
from use_cases.comparison.many import ManyColumn, ManyComparison
from use_cases.comparison.markdown import head, plain, row

_CSV_HEAD = ("model", "engine", "image", "text", "own", "score_kind", "score", "cosine")


def many_csv(comparison: ManyComparison) -> str:
    """Return a line for each column, image and text; "own" is empty for images whose text is not known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    owns = _own(comparison)
    for column in comparison.columns:
        scores, cosines = column.similarity.scores.tolist(), column.similarity.cosines.tolist()
        for i, (image, own_row) in enumerate(zip(comparison.images, owns, strict=True)):
            for j, text in enumerate(comparison.texts):
                own = "" if own_row is None else int(own_row[j])
                cell = (column.score, f"{scores[i][j]:.6g}", f"{cosines[i][j]:.6g}")
                writer.writerow((column.model, column.engine, image.name, text, own, *cell))
    return stream.getvalue()


def many_json(comparison: ManyComparison, provenance: Mapping[str, Any]) -> str:
    """Return everything but pictures; matrices are rows of images and columns of texts.

    A row of "own" is null for an image whose text is not known.

    Args:
        comparison: to keep.
        provenance: where and when it was computed, JSON values.
    """
    content = {
        "provenance": dict(provenance),
        "images": [{"name": image.name, "caption": image.caption} for image in comparison.images],
        "texts": list(comparison.texts),
        "own": None if comparison.truth is None else _own(comparison),
        "images_with_own_text": comparison.num_known,
        "columns": [_column_facts(column) for column in comparison.columns],
        "agreements": [
            {"first": comparison.columns[i].name, "second": comparison.columns[j].name, **asdict(each)}
            for (i, j), each in comparison.agreements.items()
        ],
        "unreadable": comparison.unreadable,
        "failures": comparison.failures,
        "notes": list(comparison.notes),
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def many_markdown(comparison: ManyComparison, origin: str) -> str:
    """Return the best text of each image by each column, then how far the columns agree and are calibrated.

    Args:
        comparison: to keep.
        origin: one sentence that says where and when it was computed.
    """
    names = [column.name for column in comparison.columns]
    lines = [origin, "", *head(["image", *names])]
    for i, image in enumerate(comparison.images):
        lines.append(row([image.name, *(_best(comparison, column, i) for column in comparison.columns)]))
    lines += ["", *head(["column", "own text first", "expected calibration error", "predictions"])]
    lines += [row([column.name, *summary_cells(column)]) for column in comparison.columns]
    if comparison.agreements:
        lines += ["", *head(["columns", *AGREEMENT_TITLES])]
    for (i, j), each in comparison.agreements.items():
        lines.append(row([f"{names[i]} and {names[j]}", *agreement_cells(asdict(each))]))
    for name, reason in (*comparison.failures.items(), *comparison.unreadable.items()):
        lines += ["", f"{plain(name)}: {plain(reason)}"]
    return "\n".join([*lines, "", *map(plain, comparison.notes)]).rstrip() + "\n"


AGREEMENT_TITLES = ("Spearman", "Kendall", "same best text", "same best image")


def agreement_cells(agreement: Mapping[str, float | None]) -> list[str]:
    """Return the figures of two columns' agreement as people read them, in the order of AGREEMENT_TITLES."""
    correlations = ["-" if (value := agreement[name]) is None else f"{value:.3f}" for name in _CORRELATIONS]
    return [*correlations, *(_percent(agreement[name]) for name in ("same_best_text", "same_best_image"))]


def summary_cells(column: ManyColumn) -> list[str]:
    """Return how often an image's own text came first, the calibration error, and of how many predictions."""
    known = column.calibration
    if known is None:
        return ["-", "-", "-"]
    predictions = f"{known.num_predictions} {known.predicts}"
    return [_percent(column.found), _with_interval(known.expected_error), predictions]


_CORRELATIONS = ("spearman", "kendall")


def _own(comparison: ManyComparison) -> list[list[bool] | None]:
    """Return for each image which texts are its own; None where that is not known."""
    if comparison.truth is None:
        return [None] * len(comparison.images)
    return [row.tolist() if row.any() else None for row in comparison.truth]


def _column_facts(column: ManyColumn) -> dict[str, Any]:
    return {
        "model": column.model,
        "engine": column.engine,
        "quality": None if column.quality is None else asdict(column.quality),
        "score": column.score,
        "scores": column.similarity.scores.tolist(),
        "cosines": column.similarity.cosines.tolist(),
        "truncated": list(column.similarity.truncated),
        "found": column.found,
        "calibration": None if column.calibration is None else asdict(column.calibration),
    }


def _best(comparison: ManyComparison, column: ManyColumn, image: int) -> str:
    best = int(column.similarity.cosines[image].argmax())
    score, cosine = column.similarity.scores[image, best], column.similarity.cosines[image, best]
    truth = comparison.truth
    mark = "" if truth is None or not truth[image].any() else ("✓ " if truth[image, best] else "✗ ")
    return f"{mark}{comparison.texts[best]} ({score:.1%}, {cosine:.3f})"


def _with_interval(error: CalibrationError) -> str:
    if error.low is None or error.high is None:
        return f"{error.value:.3f}"
    return f"{error.value:.3f} [{error.low:.3f}, {error.high:.3f}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
