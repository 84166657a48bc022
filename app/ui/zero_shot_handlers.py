"""What the zero-shot tab and its endpoint do: check what was sent, ask the models, show their answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from app.services import Services
from app.ui.engine_choice import render_qualities
from app.ui.errors import shows_errors, streams_errors
from app.ui.newest import newest_wins
from app.ui.result_cards import render_cards
from app.ui.uploads import Upload, as_names, as_text, uploaded_file
from app.ui.waiting import until_answered
from engines.tracing import span
from use_cases.zero_shot import (
    check_labels,
    check_templates,
    classify_image,
    parse_labels,
)

_Request: TypeAlias = "tuple[Path, list[str], list[str]]"  # image, labels, templates


class ZeroShotHandlers:
    """The handlers of the tab's events, around the shared engines."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @streams_errors
    @newest_wins
    async def on_run(
        self, image: Upload, labels: str, template: str, models: list[str], engine: str
    ) -> AsyncGenerator[str, None]:
        """Yield the results as HTML; how long it has waited while engines are loaded for the first time."""
        models, engine = as_names("models", models), as_text("engine", engine)
        waiting = self._services.not_ready(models, engine)
        answer = self._answer(image, labels, template, models, engine)
        async for shown in until_answered(answer, waiting, str):
            yield shown

    @shows_errors
    async def on_engine(self, models: list[str], engine: str) -> str:
        """Return how close the chosen engine is to float32, as HTML."""
        return render_qualities(await self._services.qualities(models or self._services.models, engine))

    @shows_errors
    async def zero_shot(
        self, image: Upload, labels: str, template: str, models: list[str], engine: str
    ) -> dict[str, Any]:
        """Score how well each label fits an image, with SigLIP-style and CLIP-style models.

        The first use of a quantized engine builds it, which takes minutes.

        Args:
            image: the image file, JPEG, PNG, WebP...; over MCP a data URI such as data:image/jpeg;base64,...
            labels: the classes, one a line or comma-separated, such as "a cat, a dog".
            template: a prompt with {label} in it, or several, one a line; empty for the model's own.
            models: names of the models to ask, see list_models.
            engine: the runtime and precision, such as "onnx-int8-dynamic"; empty for each model's best.
        """
        with self._services.metrics.request("gradio", "zero_shot"):
            request = self._checked(image, labels, template)
            pooled = await self._services.engines(as_names("models", models), as_text("engine", engine))
            results = await classify_image(pooled, *request)
        return {"results": [asdict(result) for result in results]}

    async def _answer(self, image: Upload, labels: str, template: str, models: list[str], engine: str) -> str:
        with self._services.metrics.request("page", "zero_shot"):
            request = self._checked(image, labels, template)
            pooled, failing = await self._services.passing_engines(models, engine)
            results = await classify_image(pooled, *request)
            with span("respond"):
                return render_cards(results, failing)

    def _checked(self, image: Upload, labels: str, template: str) -> _Request:
        path = uploaded_file(image)
        label_list = check_labels(parse_labels(as_text("labels", labels)))
        return path, label_list, check_templates(as_text("template", template).splitlines())
