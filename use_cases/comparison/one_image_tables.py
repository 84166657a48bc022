"""A comparison on one image to keep: as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from use_cases.comparison.columns import Column, ComparedLabel
from use_cases.comparison.explain import column_name
from use_cases.comparison.markdown import head, plain, row
from use_cases.comparison.one_image import Comparison

_CSV_HEAD = ("model", "engine", "label", "rank", "sigmoid", "softmax", "cosine", "logit")


def comparison_csv(comparison: Comparison) -> str:
    """Return a line for each column and label; "sigmoid" is empty for models trained with a softmax."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    for column in comparison.columns:
        for each in column.labels:
            sigmoid = "" if each.sigmoid is None else f"{each.sigmoid:.6g}"
            numbers = (f"{value:.6g}" for value in (each.softmax, each.cosine, each.logit))
            writer.writerow((column.model, column.engine, each.label, each.rank, sigmoid, *numbers))
    return stream.getvalue()


def comparison_json(comparison: Comparison) -> str:
    """Return everything, in the form of the answers of `/v1/compare`."""
    return json.dumps(asdict(comparison), ensure_ascii=False, allow_nan=False) + "\n"


def comparison_markdown(comparison: Comparison) -> str:
    """Return the explanation, a table of all labels, and what failed."""
    columns = comparison.columns
    titles = ["label", *(f"{column_name(each, columns)} ({each.score})" for each in columns)]
    by_label = [{each.label: each for each in column.labels} for column in columns]
    lines = [plain(comparison.explanation), "", *head(titles)]
    lines += [row([label, *(_cell(found[label]) for found in by_label)]) for label in display_order(columns)]
    lines += [row(["(none of these)", *(_none_of_these(column) for column in columns)])]
    for failed in comparison.failed:
        lines += ["", plain(f"{failed.model} on {failed.engine or 'its best engine'}: {failed.error}")]
    return "\n".join(lines) + "\n"


def display_order(columns: Sequence[Column], most: int | None = None) -> list[str]:
    """Return the labels as the first column ranks them; of too many those that any column ranks best.

    Args:
        columns: at least one, all with the same labels.
        most: labels to return; None for all.
    """
    first = [each.label for each in columns[0].labels]
    ranks: dict[str, int] = {}
    for column in columns:
        for each in column.labels:
            ranks[each.label] = min(each.rank, ranks.get(each.label, each.rank))
    kept = set(sorted(first, key=lambda label: ranks[label])[:most])
    return [label for label in first if label in kept]


def _cell(label: ComparedLabel) -> str:
    sigmoid = "" if label.sigmoid is None else f"sigmoid {label.sigmoid:.1%}, "
    return f"#{label.rank}: {sigmoid}softmax {label.softmax:.1%}, cosine {label.cosine:.4f}"


def _none_of_these(column: Column) -> str:
    return "cannot say" if column.none_of_these is None else f"sigmoid {column.none_of_these:.1%}"
