"""Endpoints of galleries without a place on the page, for gradio_client and as MCP tools."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import gradio as gr

from app.gallery_answers import answer_json, gallery_json
from app.gallery_search import Found, find_images
from app.services import Services
from app.ui.errors import shows_errors
from app.ui.sent_values import as_flag
from app.ui.uploads import ENDPOINT_OPTIONS, Upload, as_names, as_text, uploaded_file
from engines.errors import EngineError, InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.images import read_image
from use_cases.retrieval.demo_gallery import DEMO
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.query import ImageQuery
from use_cases.zero_shot import min_image_side

_TOP_K = 10


def build_search_endpoints(services: Services) -> None:
    """Add the endpoints to the surrounding gr.Blocks."""

    @shows_errors
    async def search(
        text: str,
        image: Upload = None,
        negative: str = "",
        like: str = "",
        gallery: str = DEMO,
        models: list[str] | None = None,
        engine: str = "",
        top_k: float = _TOP_K,
        min_score: float | None = None,
        caption_contains: str = "",
        hide_duplicates: bool = False,
        thumbnails: bool = False,
    ) -> dict[str, Any]:
        """Search a gallery for the images that fit a text, an image, or both best.

        Returns for each model the hits, best first, with id, caption, score and cosine. A sigmoid model's
        score for a text alone is the probability that it fits the image; else the score is the cosine with
        the whole query. The result's score_kind tells which of the two.

        Args:
            text: what the images should show, such as "a boat at sunset"; may be empty with an image.
            image: an image that they should be like; over MCP a data URI such as data:image/png;base64,...
            negative: what they should not show.
            like: the id of an image of the gallery that they should be like, in place of an image.
            gallery: its name, see index_status; "demo" is always there.
            models: names of the models to ask, see list_models; none for the first.
            engine: the runtime and precision, such as "onnx-int8-dynamic"; empty for each model's best.
            top_k: how many hits, at most 1000.
            min_score: leave out hits whose score is below this: a probability or a cosine, see above.
            caption_contains: only images with this in their caption.
            hide_duplicates: of images that are the same, or nearly, show the best alone.
            thumbnails: show the hits, as data URIs of small JPEGs.
        """
        with services.metrics.request("gradio", "search"):
            pooled = await services.engines(
                as_names("models", models) or services.models[:1], as_text("engine", engine)
            )
            query = ImageQuery(
                text=as_text("text", text),
                negative=as_text("negative", negative),
                image=None if image is None else await _read(services, pooled, image),
                like=as_text("like", like),
                top_k=_whole_number("top_k", top_k),
                min_score=_number("min_score", min_score),
                where=ImageFilter(caption_contains=as_text("caption_contains", caption_contains)),
                hide_duplicates=as_flag("hide_duplicates", hide_duplicates),
            )
            name, shown = as_text("gallery", gallery) or DEMO, as_flag("thumbnails", thumbnails)
            (found,) = await find_images(services, name, pooled, [query])
            return {"gallery": name, "results": _results(found, thumbnails=shown)}

    @shows_errors
    async def index_status(gallery: str) -> dict[str, Any]:
        """Tell what galleries hold: their images by model; and of a job that adds images, how far it is.

        Args:
            gallery: its name; empty for all galleries, without the files that could not be added.
        """
        name = as_text("gallery", gallery)
        if name:
            return {"galleries": [gallery_json(await services.galleries.status(name))]}
        names = await asyncio.to_thread(services.galleries.names)
        return {"galleries": [await _summary(services, each) for each in names]}

    with gr.Row(visible=False):
        components: list[gr.components.Component] = [
            gr.Textbox(value="", label="Text"),
            gr.Image(label="Image"),
            gr.Textbox(value="", label="Negative"),
            gr.Textbox(value="", label="Like"),
            gr.Textbox(value=DEMO, label="Gallery"),
            gr.CheckboxGroup(list(services.models), value=list(services.models[:1]), label="Models"),
            gr.Textbox(value="", label="Engine"),
            gr.Number(value=_TOP_K, precision=0, label="Top k"),
            gr.Number(value=None, label="Min score"),
            gr.Textbox(value="", label="Caption contains"),
            gr.Checkbox(value=False, label="Hide duplicates"),
            gr.Checkbox(value=False, label="Thumbnails"),
        ]
        which = gr.Textbox(value="", label="Gallery")
        button, output = gr.Button(), gr.JSON()
    button.click(search, components, output, api_name="search", **ENDPOINT_OPTIONS)
    button.click(index_status, which, output, api_name="index_status", **ENDPOINT_OPTIONS)


async def _read(services: Services, pooled: Sequence[PooledEngine], image: Upload) -> SourceImage:
    min_side = min_image_side([each.engine.spec for each in pooled])
    return await read_image(uploaded_file(image), min_side, services.pool.worker.cache)


async def _summary(services: Services, name: str) -> dict[str, Any]:
    """Return what is known of a gallery; one that is damaged does not hide the others."""
    try:
        return gallery_json(await services.galleries.status(name), failures=False)
    except EngineError as error:
        return {"id": name, "object": "gallery", "error": str(error)}


def _results(found: Sequence[Found], *, thumbnails: bool) -> list[dict[str, Any]]:
    """Return what each model found for one query.

    Raises:
        EngineError: what is wrong with the query.
    """
    results: list[dict[str, Any]] = []
    for answer in found:
        if isinstance(answer, EngineError):
            raise answer
        results.append(answer_json(answer, thumbnails=thumbnails))
    return results


def _number(name: str, value: object) -> float | None:
    """Return a number; None for null.

    Raises:
        InvalidInputError: when it is something else.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidInputError(f"The parameter {name!r} must be a number, not {type(value).__name__}.")
    return value


def _whole_number(name: str, value: object) -> int:
    number = _number(name, value)
    if number is None:
        return _TOP_K
    if number != int(number):
        raise InvalidInputError(f"The parameter {name!r} must be a whole number.")
    return int(number)
