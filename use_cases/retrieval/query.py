"""ImageQuery: what to look for in an index, checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from engines.errors import InvalidInputError
from engines.preparation.source import SourceImage
from use_cases.embedding import check_text
from use_cases.retrieval.filters import ImageFilter

MAX_RESULTS = 1_000  # of one query, those skipped included
_MAX_WEIGHT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery:
    """What to look for, and where; at least a text or an image.

    Images are ranked by the cosine of their embedding with
    text_weight * text + image_weight * image - negative_weight * negative, each of unit length.

    `min_score` keeps the images whose score is at least that. With a sigmoid model and a text as all that
    is weighed, the score is the probability that the text fits the image; in every other case it is the
    cosine above. Only what is kept counts for `offset` and `top_k`.
    """

    text: str = ""
    negative: str = ""  # what the images should not show
    image: SourceImage | None = None
    like: str = ""  # the id of an image of the index, in place of `image`
    text_weight: float = 1.0
    image_weight: float = 1.0
    negative_weight: float = 0.5
    top_k: int = 20
    offset: int = 0  # results to skip: for the next page
    min_score: float | None = None  # None keeps all
    where: ImageFilter = field(default_factory=ImageFilter)
    hide_duplicates: bool = False  # of images that are the same, or nearly, keep the best; it counts as one

    @property
    def weighs_text_alone(self) -> bool:
        """Tell whether images are ranked by nothing but how well they fit the text."""
        by_image = bool(self.image or self.like) and self.image_weight > 0
        by_negative = bool(self.negative.strip()) and self.negative_weight > 0
        return bool(self.text.strip()) and not by_image and not by_negative


def check_query(query: ImageQuery) -> ImageQuery:
    """Return a query that can be answered.

    Raises:
        InvalidInputError: when it asks for nothing, or a value is out of range.
    """
    if not (query.text.strip() or query.image or query.like):
        raise InvalidInputError("There is nothing to look for; give a text or an image.")
    if query.image is not None and query.like:
        raise InvalidInputError("Give an image or the id of one in the index, not both.")
    for text in (query.text, query.negative):
        if text.strip():
            check_text(text)
    for name in ("text_weight", "image_weight", "negative_weight"):
        if not 0 <= getattr(query, name) <= _MAX_WEIGHT:  # not a number is neither
            raise InvalidInputError(f"{name} must be a number from 0 to {_MAX_WEIGHT}.")
    if query.top_k < 1 or query.offset < 0 or query.top_k + query.offset > MAX_RESULTS:
        raise InvalidInputError(
            f"top_k must be at least 1, and with the offset at most {MAX_RESULTS:,} results are listed."
        )
    if query.min_score is not None and not -1 <= query.min_score <= 1:
        raise InvalidInputError("min_score must be from -1 to 1: a probability, or a cosine.")
    query.where.to_sql()
    return query
