"""Endpoints without a place on the page, for gradio_client and as MCP tools."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.services import Services
from app.ui.errors import shows_errors
from app.ui.uploads import ENDPOINT_OPTIONS, Upload, as_text, uploaded_file
from engines.pool import PooledEngine
from use_cases.embedding import EmbeddedItems, check_text, embed_items
from use_cases.images import read_image
from use_cases.zero_shot import MAX_LABELS, check_size, min_image_side


def build_endpoints(services: Services) -> None:
    """Add the endpoints to the surrounding gr.Blocks."""

    @shows_errors
    async def embed_image(image: Upload, model: str, engine: str) -> dict[str, Any]:
        """Embed an image: a unit vector whose dot product with a text's is their cosine similarity.

        Args:
            image: the image file; over MCP a data URI such as data:image/jpeg;base64,...
            model: the name of an offered model, see list_models; empty for the first.
            engine: the runtime and precision, such as "onnx-int8-dynamic"; empty for the model's best.
        """
        with services.metrics.request("gradio", "embed_image"):
            path = uploaded_file(image)
            pooled = await services.engine(as_text("model", model), as_text("engine", engine))
            min_side = min_image_side([pooled.engine.spec])
            source = await read_image(path, min_side, services.pool.worker.cache)
            embedded = await embed_items(pooled, [source])
        return {**_facts(pooled, embedded), "embedding": embedded.embeddings[0].tolist()}

    @shows_errors
    async def embed_text(texts: str, model: str, engine: str) -> dict[str, Any]:
        """Embed texts, one a line: unit vectors whose dot product with an image's is their cosine similarity.

        Args:
            texts: one text a line.
            model: the name of an offered model, see list_models; empty for the first.
            engine: the runtime and precision, such as "onnx-int8-dynamic"; empty for the model's best.
        """
        with services.metrics.request("gradio", "embed_text"):
            lines = [check_text(line) for line in as_text("texts", texts).strip().splitlines() or [""]]
            check_size("text", lines, MAX_LABELS)
            pooled = await services.engine(as_text("model", model), as_text("engine", engine))
            embedded = await embed_items(pooled, lines)
        return {
            **_facts(pooled, embedded),
            "embeddings": embedded.embeddings.tolist(),
            "truncated": list(embedded.truncated),
        }

    @shows_errors
    async def list_models() -> dict[str, Any]:
        """List the models that this server offers, with their dimensions and the kind of their scores."""
        specs = [await services.pool.spec(name) for name in services.models]
        facts = ("dim", "score", "image_size", "context_length")
        described = [{"id": spec.name, **{name: getattr(spec, name) for name in facts}} for spec in specs]
        return {"models": described}

    with gr.Row(visible=False):
        image, texts = gr.Image(label="Image"), gr.Textbox(label="Texts")
        which = [gr.Textbox(value="", label="Model"), gr.Textbox(value="", label="Engine")]
        button, output = gr.Button(), gr.JSON()
    button.click(embed_image, [image, *which], output, api_name="embed_image", **ENDPOINT_OPTIONS)
    button.click(embed_text, [texts, *which], output, api_name="embed_text", **ENDPOINT_OPTIONS)
    button.click(list_models, None, output, api_name="list_models", **ENDPOINT_OPTIONS)


def _facts(pooled: PooledEngine, embedded: EmbeddedItems) -> dict[str, Any]:
    return {
        "model": pooled.engine.spec.name,
        "engine": pooled.engine.engine.name,
        "dim": embedded.embeddings.shape[1],
        "cached": all(embedded.cached),
        "timings_ms": embedded.timings_ms,
    }
