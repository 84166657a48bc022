"""The body of a comparison, as the OpenAPI description shows it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas import ImageLike

_IMAGE = "data:image/jpeg;base64,/9j/4AAQSkZJRg..."
_PROMPTS = "prompts with {label} in them"


class CompareBody(BaseModel):
    """One image to score against labels, with several models and engines side by side."""

    model_config = ConfigDict(
        extra="forbid",  # a misspelt parameter is an error and not silently ignored
        json_schema_extra={"examples": [{"image": _IMAGE, "labels": ["a cat", "a dog"]}]},
    )

    image: Annotated[
        ImageLike,
        Field(description="a data URI, base64, or a URL where the server allows that", examples=[_IMAGE]),
    ]
    labels: Annotated[list[str], Field(min_length=1, examples=[["a cat", "a dog"]])]
    models: Annotated[list[str], Field(description="offered models; all of them when left out")] = []
    engines: Annotated[
        list[str],
        Field(
            description="runtimes and precisions, each a column a model; the models' best when left out",
            examples=[["onnx-fp32", "onnx-int8-dynamic"]],
        ),
    ] = []
    templates: Annotated[
        list[str], Field(description=f"{_PROMPTS}, for all models; each one's own when left out")
    ] = []
    sigmoid_templates: Annotated[
        list[str], Field(description=f"{_PROMPTS}, for models with a sigmoid, in place of templates")
    ] = []
    softmax_templates: Annotated[
        list[str], Field(description=f"{_PROMPTS}, for models with a softmax, in place of templates")
    ] = []
    distractor: Annotated[
        str, Field(description="one label more, of which is told only what it does to the others")
    ] = ""
    mistakes: Annotated[
        bool,
        Field(
            description="also prepare the request wrongly on purpose, and tell what that does; for at most"
            " 50 labels"
        ),
    ] = False
