"""What a visitor of the search tab asked, checked: the page's values as they were sent -> an ImageQuery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import gradio as gr

from app.ui.sent_values import as_number
from app.ui.uploads import Upload, as_names, as_text, uploaded_file
from engines.preparation.source import SourceImage
from use_cases.retrieval.filters import ImageFilter, Orientation
from use_cases.retrieval.query import ImageQuery

IMAGES, TEXTS = "Images", "Texts"  # what is looked for
ANY = "any"  # orientation


@dataclass(frozen=True, slots=True)
class SearchQuestion:
    """The values of the form, in the order of `SearchForm`'s components, as they were sent."""

    gallery: Any
    mode: Any
    text: Any
    image: Upload
    like: Any  # the id of an image of the gallery, in place of an upload
    tags: Any  # texts to choose from, one a line
    models: Any
    top_k: Any
    min_score: Any
    negative: Any
    text_weight: Any
    image_weight: Any
    negative_weight: Any
    id_prefix: Any
    caption_contains: Any
    min_side: Any
    orientation: Any
    hide_duplicates: Any
    engine: Any

    @classmethod
    def of(cls, values: Sequence[Any]) -> SearchQuestion:
        """Take the values that an event received."""
        return cls(*values)

    @property
    def gallery_name(self) -> str:
        """Return the gallery to search."""
        return as_text("gallery", self.gallery)

    @property
    def liked(self) -> str:
        """Return the id of the image of the gallery that is searched by; empty for none."""
        return as_text("like", self.like)

    @property
    def wants_texts(self) -> bool:
        """Tell whether texts are looked for, not images."""
        return as_text("mode", self.mode) == TEXTS

    @property
    def has_query(self) -> bool:
        """Tell whether there is anything to look for."""
        return bool(as_text("text", self.text).strip() or self.image or self.liked)

    @property
    def chosen(self) -> tuple[list[str], str]:
        """Return the models, and the engine for them; empty for each model's best."""
        return as_names("models", self.models), as_text("engine", self.engine)

    @property
    def page_size(self) -> int:
        """Return how many results a page has."""
        return int(as_number("results", self.top_k, 10))

    def file(self) -> Path | None:
        """Return the uploaded image, if there is one.

        Raises:
            InvalidInputError: when it did not come through Gradio's upload.
        """
        return uploaded_file(self.image) if self.image else None

    def candidates(self) -> list[str]:
        """Return the texts to choose from; none for the gallery's captions."""
        return [line.strip() for line in as_text("tags", self.tags).splitlines() if line.strip()]

    def query(self, image: SourceImage | None, offset: int) -> ImageQuery:
        """Return what to look for.

        Args:
            image: the uploaded one.
            offset: results to skip.

        Raises:
            InvalidInputError: when a value cannot be used.
        """
        min_score = as_number("minimum score", self.min_score)
        return ImageQuery(
            text=as_text("text", self.text),
            negative=as_text("not", self.negative),
            image=image,
            like="" if image else self.liked,
            text_weight=as_number("weight of the text", self.text_weight, 1.0),
            image_weight=as_number("weight of the image", self.image_weight, 1.0),
            negative_weight=as_number("weight of what is not wanted", self.negative_weight, 0.5),
            top_k=self.page_size,
            offset=offset,
            min_score=min_score or None,  # 0 is no condition: cosines may be below it
            where=self._where(),
            hide_duplicates=bool(self.hide_duplicates),
        )

    def _where(self) -> ImageFilter:
        side = int(as_number("minimum size", self.min_side))
        return ImageFilter(
            id_prefix=as_text("id begins with", self.id_prefix),
            caption_contains=as_text("caption contains", self.caption_contains),
            min_width=side,
            min_height=side,
            orientation=_orientation(as_text("orientation", self.orientation)),
        )


def event_text(event: gr.EventData, name: str) -> str:
    """Return a text that the page sent with an event; empty when there is none.

    Raises:
        InvalidInputError: when it is no text.
    """
    try:
        value = getattr(event, name, "")
    except TypeError:  # a hostile client sent no object
        value = ""
    return as_text(name, value)


def _orientation(value: str) -> Orientation | None:
    allowed: tuple[Literal["landscape", "portrait", "square"], ...] = get_args(Orientation)
    return next((each for each in allowed if each == value), None)
