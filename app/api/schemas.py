"""The bodies of requests, as the OpenAPI description shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator

_IMAGE = "data:image/jpeg;base64,/9j/4AAQSkZJRg..."


class _Strict(BaseModel):
    """A misspelt parameter is an error and not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class TextItem(_Strict):
    """A text."""

    text: str


class ImageItem(_Strict):
    """An image: a data URI, its base64 alone, or a URL where the server allows that."""

    image: str | bytes  # bytes of a file that was uploaded


class ImageUrl(_Strict):
    """A data URI, or a URL where the server allows that."""

    url: str
    detail: str | None = None  # OpenAI's; of no effect here


class ImageUrlItem(_Strict):
    """An image as OpenAI's chat messages have it."""

    type: Literal["image_url"]
    image_url: ImageUrl | str


class TypedTextItem(_Strict):
    """A text as OpenAI's chat messages have it."""

    type: Literal["text"]
    text: str


Item = str | TextItem | ImageItem | ImageUrlItem | TypedTextItem
ImageLike = str | ImageItem | ImageUrlItem
Engine = Annotated[
    str, Field(description="runtime and precision; the model's best when left out", examples=["onnx-fp32"])
]
ModelName = Annotated[str, Field(description="an offered model; the first of them when left out")]
Images = Annotated[
    list[ImageLike],
    Field(
        description="data URIs, base64, or URLs where the server allows that",
        min_length=1,
        examples=[[_IMAGE]],
    ),
]


class EmbeddingsBody(BaseModel):
    """Texts and images to embed; OpenAI's parameters, and `engine`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "siglit-mini", "input": ["a photo of a cat", _IMAGE]}]}
    )

    input: Annotated[
        Item | list[Item],
        Field(description="a text or image, or a list of them; a string that begins with data:image/ is one"),
    ]

    @field_validator("input", mode="before")
    @classmethod
    def _no_token_ids(cls, value: Any) -> Any:
        """Some of OpenAI's clients tokenize texts themselves, for another tokenizer than a model here has."""
        if isinstance(value, list) and any(type(item) in (int, list) for item in value):
            raise ValueError("token ids are not accepted; send the texts themselves")
        return value

    model: ModelName | None = ""
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Field(description="base64: of float32, little-endian")
    ] = "float"
    dimensions: Annotated[StrictInt | None, Field(description="keep only the first dimensions; lossy")] = None
    engine: Engine = ""


class ClassifyBody(_Strict):
    """Images to score against labels, with one model or several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"images": [_IMAGE], "labels": ["a cat", "a dog"], "models": ["siglit-mini"]}]
        }
    )

    images: Images
    labels: Annotated[list[str], Field(min_length=1, examples=[["a cat", "a dog"]])]
    templates: Annotated[
        list[str], Field(description="prompts with {label} in them; the model's own when left out")
    ] = []
    models: Annotated[list[str], Field(description="offered models; all of them when left out")] = []
    engine: Engine = ""


class SimilarityBody(_Strict):
    """Images and texts to compare, each with each."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"images": [_IMAGE], "texts": ["a photo of a cat"]}]}
    )

    images: Images
    texts: Annotated[list[str], Field(min_length=1)]
    model: ModelName = ""
    engine: Engine = ""


class FeaturesBody(_Strict):
    """Images whose patch features are wanted: the image tower's last hidden states."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"images": [_IMAGE], "format": "base64"}]})

    images: Images
    model: ModelName = ""
    format: Annotated[
        Literal["base64", "npy", "safetensors"],
        Field(description="base64: of float32, little-endian, in JSON; the others are files"),
    ] = "base64"
    engine: Engine = ""


BODIES: tuple[type[BaseModel], ...] = (EmbeddingsBody, ClassifyBody, SimilarityBody, FeaturesBody)
