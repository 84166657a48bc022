"""The comparison without a place on the page, for gradio_client and as an MCP tool."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.compare_answers import comparison_answer
from app.services import Services
from app.ui.errors import shows_errors
from app.ui.sent_values import as_flag
from app.ui.uploads import ENDPOINT_OPTIONS, Upload, as_names, as_text, uploaded_file
from engines.factory import ENGINES
from use_cases.comparison.one_image import open_contestants, read_for
from use_cases.zero_shot import check_labels, check_templates, parse_labels


def build_compare_endpoints(services: Services) -> None:
    """Add the endpoint to the surrounding gr.Blocks."""

    @shows_errors
    async def compare(
        image: Upload,
        labels: str,
        models: list[str] | None = None,
        engines: list[str] | None = None,
        sigmoid_templates: str = "",
        softmax_templates: str = "",
        distractor: str = "",
        mistakes: bool = False,
    ) -> dict[str, Any]:
        """Compare how SigLIP-style and CLIP-style models score the same labels for one image, and why.

        Returns a column for each model and engine: of every label the rank, sigmoid, softmax, cosine and
        logit; one sentence that explains why the columns differ; and how much the scores depend on the set
        of labels and on the prompt template. A model that fails is listed under "failed" with its reason.
        The first use of a quantized engine builds it, which takes minutes.

        Args:
            image: the image file; over MCP a data URI such as data:image/jpeg;base64,...
            labels: the classes, one a line or comma-separated, such as "a cat, a dog".
            models: names of the models to ask, see list_models; none for all.
            engines: runtimes and precisions, such as "onnx-int8-dynamic"; none for each model's best.
            sigmoid_templates: prompts with {label} for SigLIP's kin, one a line; empty for the model's own.
            softmax_templates: the same for CLIP's kin.
            distractor: one label more, of which is told only what it does to the others.
            mistakes: also prepare the request wrongly on purpose, and tell what that does to the scores.
        """
        with services.metrics.request("gradio", "compare"):
            path, label_list = uploaded_file(image), check_labels(parse_labels(as_text("labels", labels)))
            templates = {
                "sigmoid": _templates("sigmoid_templates", sigmoid_templates),
                "softmax": _templates("softmax_templates", softmax_templates),
            }
            with_mistakes = as_flag("mistakes", mistakes)
            names = as_names("models", models) or list(services.models)
            named = as_names("engines", engines)
            async with open_contestants(services.engine, names, named) as contestants:
                return await comparison_answer(
                    contestants,
                    await read_for(contestants, path),
                    label_list,
                    templates,
                    distractor=as_text("distractor", distractor),
                    mistakes=with_mistakes,
                )

    with gr.Row(visible=False):
        components: list[gr.components.Component] = [
            gr.Image(label="Image"),
            gr.Textbox(label="Labels"),
            gr.CheckboxGroup(list(services.models), value=list(services.models), label="Models"),
            gr.Dropdown(list(ENGINES), value=[], multiselect=True, label="Engines"),
            gr.Textbox(value="", label="Sigmoid templates"),
            gr.Textbox(value="", label="Softmax templates"),
            gr.Textbox(value="", label="Distractor"),
            gr.Checkbox(value=False, label="Mistakes"),
        ]
        button, output = gr.Button(), gr.JSON()
    button.click(compare, components, output, api_name="compare", **ENDPOINT_OPTIONS)


def _templates(name: str, value: str) -> list[str]:
    return check_templates(as_text(name, value).splitlines())
