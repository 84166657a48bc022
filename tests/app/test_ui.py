"""The interface without a browser: cards, examples and error toasts."""

import html.parser

import gradio as gr
import pytest
from PIL import Image

from app.ui.engine_choice import engine_choices, render_qualities, render_waiting
from app.ui.errors import shows_errors, streams_errors
from app.ui.result_cards import MAX_BARS, render_cards
from app.ui.uploads import uploaded_file
from app.ui.zero_shot_tab import example_rows
from engines.errors import InvalidInputError, QualityGateError
from engines.factory import ENGINES
from engines.loading import EngineKey
from engines.pool import PooledEngine
from engines.preparation.images import decode_image
from engines.preparation.source import SourceImage
from tests.fakes import FIGURES, fake_batched
from use_cases.zero_shot import classify


class Text(html.parser.HTMLParser):
    """Collects what a reader of the page sees, and the tags that were used."""

    def __init__(self):
        super().__init__()
        self.text, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text.append(data)


async def cards(labels, **options):
    async with fake_batched(**options) as engine:
        (result,) = await classify(
            PooledEngine(engine), [SourceImage.of_image(Image.new("RGB", (8, 8), "red"))], labels
        )
    reader = Text()
    reader.feed(render_cards([result]))
    return " ".join(" ".join(reader.text).split()), reader.tags


@pytest.mark.anyio
async def test_a_card_shows_scores_none_of_these_stages_and_raw_numbers():
    text, _ = await cards(["red", "blue"])
    assert "red 100.0 %" in text
    assert "none of these 0.0 %" in text
    assert "infer" in text
    assert "Raw cosines and logits" in text


@pytest.mark.anyio
async def test_many_labels_get_no_endless_list_of_bars():
    text, _ = await cards([f"label{i}" for i in range(MAX_BARS + 5)])
    assert "and 5 more labels" in text


@pytest.mark.anyio
async def test_a_label_cannot_smuggle_in_markup_or_a_template():
    text, tags = await cards(["<script>alert(1)</script>", "${1+1} {{x}}"])
    assert "<script>alert(1)</script>" in text
    assert "script" not in tags
    async with fake_batched() as engine:
        image = SourceImage.of_image(Image.new("RGB", (8, 8)))
        (result,) = await classify(PooledEngine(engine), [image], ["${1+1} {{x}}"])
    assert "${" not in render_cards([result])
    assert "{{" not in render_cards([result])


@pytest.mark.anyio
async def test_a_model_that_cannot_answer_has_a_card_that_says_why():
    async with fake_batched() as engine:
        image = SourceImage.of_image(Image.new("RGB", (8, 8)))
        results = await classify(PooledEngine(engine), [image], ["red"])
    reader = Text()
    reader.feed(render_cards(results, {"lit-mini": QualityGateError("It failed its quality gate.")}))
    assert "lit-mini" in reader.text
    assert "⚠ It failed its quality gate." in reader.text


@pytest.mark.anyio
async def test_truncated_labels_are_named():
    text, _ = await cards(["red", "red " * 9])
    assert "read only the beginning" in text


@pytest.mark.anyio
async def test_labels_that_the_model_cannot_read_are_named():
    text, _ = await cards(["red", "red ?", "<b>?", "??", "???"])
    assert "which the model cannot tell apart: “red ?”, “<b>?”, “??” and 1 more" in text
    text, _ = await cards(["red"])
    assert "cannot tell apart" not in text


def test_every_example_is_an_image_with_labels():
    for path, labels in example_rows():
        assert decode_image(path).mode == "RGB"
        assert len(labels.splitlines()) > 1


@pytest.mark.anyio
async def test_user_errors_become_toasts_and_bugs_stay_bugs():
    @shows_errors
    async def handler(error):
        raise error

    with pytest.raises(gr.Error, match="no labels"):
        await handler(InvalidInputError("There are no labels."))
    with pytest.raises(KeyError):
        await handler(KeyError("bug"))


@pytest.mark.anyio
async def test_a_stream_s_errors_become_toasts_after_what_it_yielded():
    @streams_errors
    async def handler():
        yield "loading"
        raise InvalidInputError("There is no image.")

    stream = handler()
    assert await anext(stream) == "loading"
    with pytest.raises(gr.Error, match="no image"):
        await anext(stream)


def test_every_engine_can_be_chosen_and_its_figures_are_shown():
    assert [value for _, value in engine_choices()] == ["", *ENGINES]
    text = render_qualities(
        {
            EngineKey("a", "onnx-int8-dynamic"): FIGURES,
            EngineKey("<b>", "onnx-fp32"): None,
            EngineKey("c", "onnx-int4"): None,
        }
    )
    assert "fails its gate: image cosine 0.9300 (0.995 needed)" in text
    assert "float32, exact" in text
    assert "not measured here yet" in text
    assert "<b><b>" not in text


def test_waiting_names_what_is_loaded_and_since_when():
    text = render_waiting([EngineKey("a", "onnx-int4")], 12.4)
    assert "Loading a on onnx-int4" in text
    assert "12 s" in text


def test_only_uploaded_files_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    upload, secret = tmp_path / "uploads" / "notes.txt", tmp_path / "secret.png"
    upload.write_text("whatever it holds, the decoder will judge it")
    secret.write_text("not an upload")
    (upload.parent / "link.png").symlink_to(secret)
    assert uploaded_file({"path": str(upload)}) == upload
    with pytest.raises(InvalidInputError, match="There is no image"):
        uploaded_file(None)
    for path in (
        secret,
        upload.parent / "gone.png",
        f"{upload.parent}/../secret.png",
        upload.parent / "link.png",
        "",
    ):
        with pytest.raises(InvalidInputError, match="upload it again"):
            uploaded_file({"path": str(path)})
