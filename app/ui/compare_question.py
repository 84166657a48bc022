"""What a visitor asks of the comparison on one image, and the link that asks it again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.ui.compare_links import LinkQuery, first, make_link
from app.ui.compare_pictures import picture_path
from app.ui.uploads import Upload, as_names, as_text
from engines.factory import ENGINES
from use_cases.comparison.columns import TemplatesByScore
from use_cases.zero_shot import check_labels, check_templates, parse_labels

VIEW = "compare"  # the value of "view" in a link


@dataclass(frozen=True, slots=True)
class CompareQuestion:
    """The values of the form, in the order of `CompareForm`."""

    image: Upload
    picture: str  # the name of the shipped picture that is shown; empty for an upload
    labels: str
    models: list[str]
    engines: list[str]
    sigmoid_templates: str
    softmax_templates: str
    distractor: str

    @classmethod
    def of(cls, values: Sequence[Any]) -> CompareQuestion:
        """Check the values that an event brings.

        Raises:
            InvalidInputError: when one is of another kind than the form sends.
        """
        image, picture, labels, models, engines, sigmoid, softmax, distractor = values
        return cls(
            image,
            as_text("picture", picture),
            as_text("labels", labels),
            as_names("models", models),
            as_names("engines", engines),
            as_text("sigmoid_templates", sigmoid),
            as_text("softmax_templates", softmax),
            as_text("distractor", distractor),
        )

    @property
    def label_list(self) -> list[str]:
        """Return the labels.

        Raises:
            InvalidInputError: when they cannot be used.
        """
        return check_labels(parse_labels(self.labels))

    @property
    def templates(self) -> TemplatesByScore:
        """Return the prompt templates by kind of score.

        Raises:
            InvalidInputError: when one cannot be used.
        """
        return {
            "sigmoid": check_templates(self.sigmoid_templates.splitlines()),
            "softmax": check_templates(self.softmax_templates.splitlines()),
        }

    def link(self) -> str | None:
        """Return the query of an address that fills in the form again; None when it would be too long.

        An uploaded image is not part of it.
        """
        pairs = [("image", self.picture), ("labels", _as_typed(self.label_list))]
        pairs += [("model", model) for model in self.models]
        pairs += [("engine", engine) for engine in self.engines]
        pairs += [("sigmoid", self.sigmoid_templates), ("softmax", self.softmax_templates)]
        pairs += [("distractor", self.distractor)]
        return make_link(VIEW, pairs)


def _as_typed(labels: Sequence[str]) -> str:
    """Return text that `parse_labels` makes these labels of; on a single line a comma has to be quoted."""
    if len(labels) != 1:
        return "\n".join(labels)
    line = io.StringIO()
    csv.writer(line).writerow(labels)
    return line.getvalue().strip()


@dataclass(frozen=True, slots=True)
class LinkedInputs:
    """What a link fills in, in the order of `CompareForm`; what it names and does not exist is left out."""

    image: str | None
    picture: str
    labels: str
    models: list[str]
    engines: list[str]
    sigmoid_templates: str
    softmax_templates: str
    distractor: str

    @classmethod
    def of(cls, query: LinkQuery, models: Sequence[str]) -> LinkedInputs:
        """Read a link of this view.

        Args:
            query: every parameter with all its values.
            models: that the server offers.
        """
        path = picture_path(first(query, "image"))
        chosen = [model for model in query.get("model", ()) if model in models]
        engines = [engine for engine in query.get("engine", ()) if engine in ENGINES or not engine]
        return cls(
            image=None if path is None else str(path),
            picture="" if path is None else path.name,
            labels=first(query, "labels"),
            models=chosen or list(models),
            engines=engines or [""],
            sigmoid_templates=first(query, "sigmoid"),
            softmax_templates=first(query, "softmax"),
            distractor=first(query, "distractor"),
        )
