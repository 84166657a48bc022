"""Answers of a comparison, as the doors for programs tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from engines.preparation.source import SourceImage
from use_cases.comparison.columns import TemplatesByScore
from use_cases.comparison.mistakes import check_mistakes, try_all
from use_cases.comparison.one_image import Contestant, compare_image


async def comparison_answer(
    contestants: Sequence[Contestant],
    image: SourceImage,
    labels: Sequence[str],
    templates: TemplatesByScore,
    *,
    distractor: str,
    mistakes: bool,
) -> dict[str, Any]:
    """Return a comparison as an object, with the preparation mistakes where they are wanted.

    Args:
        contestants: as `open_contestants` yields them.
        image: of the request.
        labels: the classes.
        templates: by kind of score.
        distractor: one label more; empty for none.
        mistakes: make them, too; what fails then is listed and leaves the comparison as it is.

    Raises:
        InvalidInputError: when there are too many labels to make mistakes with.
        EngineError: what `compare_image` raises.
    """
    if mistakes:
        check_mistakes(labels)  # before anything is computed
    comparison = await compare_image(contestants, image, labels, templates, distractor)
    answer: dict[str, Any] = {"object": "comparison", **asdict(comparison)}
    if mistakes:
        reports, failed = await try_all(contestants, image, labels, templates, may_all_fail=True)
        answer["mistakes"] = [asdict(report) for report in reports]
        answer["mistakes_failed"] = [asdict(each) for each in failed]
    return answer
