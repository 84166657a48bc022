"""The bodies of requests to galleries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.api.schemas import Engine, ImageLike
from use_cases.retrieval.demo_gallery import DEMO
from use_cases.retrieval.query import MAX_RESULTS, ImageQuery

_DEFAULTS = ImageQuery()
_Pixels = Annotated[int, Field(ge=0, lt=2**31, description="pixels")]
_Weight = Annotated[float, Field(ge=0, le=10)]


class _Strict(BaseModel):
    """A misspelt parameter is an error and not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class QueryBody(_Strict):
    """What to look for: at least a text or an image; with both, what fits both."""

    text: str = ""
    negative: Annotated[str, Field(description="what the images should not show")] = ""
    image: Annotated[
        ImageLike | None, Field(description="a data URI, base64, or a URL where the server allows that")
    ] = None
    like: Annotated[str, Field(description="the id of an image of the gallery, in place of `image`")] = ""
    text_weight: _Weight = _DEFAULTS.text_weight
    image_weight: Annotated[_Weight, Field(description="of `image` or `like`")] = _DEFAULTS.image_weight
    negative_weight: _Weight = _DEFAULTS.negative_weight


class FilterBody(_Strict):
    """Conditions that an image must meet, all of them."""

    id_prefix: Annotated[str, Field(examples=["holiday/2024/"])] = ""
    caption_contains: Annotated[str, Field(description="in upper or lower case")] = ""
    has_caption: bool = False
    min_width: _Pixels = 0
    min_height: _Pixels = 0
    orientation: Literal["landscape", "portrait", "square"] | None = None
    hide_duplicates: Annotated[
        bool, Field(description="of images that are the same, or nearly, keep the best alone")
    ] = False


class SearchBody(_Strict):
    """One query or several to a gallery; what stands beside them holds for all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"gallery": DEMO, "query": {"text": "a boat"}, "top_k": 5}]}
    )

    gallery: str = DEMO
    find: Annotated[
        Literal["images", "texts"],
        Field(
            description="texts: that fit an image, of `texts` or else of the gallery's captions, up to"
            " 2,048 of them; the answer's `left_out` tells how many captioned images there are beyond that"
        ),
    ] = "images"
    query: QueryBody | None = None
    queries: Annotated[
        list[QueryBody],
        Field(description="in place of `query`; as many as a request may have texts, or images"),
    ] = []
    texts: Annotated[list[str], Field(description="what to choose from, to find texts")] = []
    top_k: Annotated[int, Field(ge=1, le=MAX_RESULTS)] = _DEFAULTS.top_k
    offset: Annotated[
        int, Field(ge=0, lt=MAX_RESULTS, description="results to skip, of those that reach `min_score`")
    ] = 0
    min_score: Annotated[
        float | None,
        Field(
            ge=-1,
            le=1,
            description="leave out images whose score is lower. The answer's `score_kind` tells what that is:"
            " with a sigmoid model and a text alone the probability that it fits, else the cosine of the"
            " image with the whole query. `has_more` tells whether a larger offset finds others",
        ),
    ] = None
    filter: FilterBody = FilterBody()
    models: Annotated[list[str], Field(description="offered models; the first of them when left out")] = []
    engine: Engine = ""
    thumbnails: Annotated[bool, Field(description="of the images: data URIs of small JPEGs")] = False

    @model_validator(mode="after")
    def _consistent(self) -> SearchBody:
        if (self.query is None) == (not self.queries):
            raise ValueError("give one `query`, or a list of `queries`")
        if self.find == "images" and self.texts:
            raise ValueError("`texts` are for finding texts; describe images in the query's `text`")
        if self.find == "texts":
            if any(query.model_fields_set != {"image"} for query in self.all_queries):
                raise ValueError("to find texts, give each query an `image` and nothing else")
            if self.model_fields_set & {"offset", "min_score", "filter", "thumbnails"}:
                raise ValueError("offset, min_score, filter and thumbnails are for finding images")
        return self

    @property
    def all_queries(self) -> list[QueryBody]:
        """Return the query, or the queries."""
        return self.queries or [self.query or QueryBody()]


def search_from_form(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return a form's content as the body in JSON has it; each of several images makes a query."""
    query = {name: form[name] for name in QueryBody.model_fields if name in form}
    conditions = {name: form[name] for name in FilterBody.model_fields if name in form}
    body = {name: value for name, value in form.items() if name not in query and name not in conditions}
    images = query.pop("image", [])
    queries = [{**query, "image": image} for image in images] or ([query] if query else [])
    if len(queries) == 1:
        body["query"] = queries[0]
    elif queries:
        body["queries"] = queries
    return body | ({"filter": conditions} if conditions else {})


class IndexBody(_Strict):
    """What a form says about the images that it brings."""

    gallery: Annotated[str, Field(description="its name; it is made if there is none")]
    captions: Annotated[
        list[str] | dict[str, str],
        Field(description="JSON: a list in the order of the images, or an object by their file names"),
    ] = []
    models: Annotated[list[str], Field(description="offered models; all of them when left out")] = []
    wait: Annotated[bool, Field(description="answer when all are added, and not at once")] = False
    remove_missing: Annotated[
        bool, Field(description="remove what came from the same zip archive before and is not in it now")
    ] = False

    @field_validator("captions", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        try:
            return orjson.loads(value) if isinstance(value, str) else value
        except orjson.JSONDecodeError:
            raise ValueError("it must be JSON: a list of texts, or an object by file name") from None
