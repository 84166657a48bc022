"""Many images in the page, without a browser: what is dropped, what is drawn, what can be kept."""

import html.parser
import json
import unicodedata
from pathlib import Path

import gradio as gr
import pytest

from app.services import Services
from app.ui.compare_many import EXAMPLE
from app.ui.compare_many_files import dropped_images, gallery_images
from app.ui.compare_many_handlers import ManyHandlers
from app.ui.compare_plots import escape_ticks
from engines.errors import InferenceError, InvalidInputError
from engines.gallery import gallery
from tests.fakes import FakePool
from tests.use_cases.retrieval.pictures import save_colours, stored_spec

pytestmark = pytest.mark.anyio
MODELS = ("colours", "shapes")


class Page(html.parser.HTMLParser):
    """Collects the words and tags of a piece of HTML."""

    def __init__(self, markup):
        super().__init__()
        self.words, self.tags = [], set()
        self.feed(markup)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
async def services():
    services = Services(
        FakePool(colours=stored_spec(), shapes=stored_spec("shapes", score="softmax")), MODELS
    )
    yield services
    await services.close()


@pytest.fixture
def drop(tmp_path, monkeypatch):
    """Return a function that puts files where Gradio puts uploads; it returns what gr.File sends."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    colours = save_colours(tmp_path / "in")

    def drop(**contents):
        sent = []
        for number, (name, content) in enumerate(contents.items()):
            place = tmp_path / "uploads" / str(number) / name.replace("__", ".")
            place.parent.mkdir(parents=True)
            if content is None:  # a picture, of a colour where it is called so
                found = colours / place.name
                content = (found if found.exists() else colours / "red.png").read_bytes()
            place.write_bytes(content.encode() if isinstance(content, str) else content)
            sent.append({"path": str(place), "orig_name": place.name})
        return sent

    return drop


async def run(services, files=None, pictures=(), texts="", in_order=True, models=MODELS, engines=("",)):
    """Compare as the page does; return the charts, the page and all that was returned."""
    handlers = ManyHandlers(services)
    (shown,) = [
        each
        async for each in handlers.on_run(files, list(pictures), texts, in_order, list(models), list(engines))
    ]
    return shown[0], Page(shown[1]), shown


def test_captions_lie_beside_images_or_in_a_table(drop):
    images, strays = dropped_images(
        drop(
            red__png=None,
            green__png=None,
            blue__png=None,
            red__txt="A red field.\nMore of it.",
            table__csv="image,caption\nsome/green.png,A green field.\ngone.png,A lost one.\n",
            alone__txt="Nobody's",
        )
    )
    assert [(image.name, image.caption) for image in images] == [
        ("red.png", "A red field."),
        ("green.png", "A green field."),
        ("blue.png", ""),
    ]
    assert strays == ["2 captions without an image among the dropped files: alone, gone.png."]
    assert dropped_images(None) == ([], [])


@pytest.mark.parametrize(
    ("content", "caption"),
    [
        (b"\xef\xbb\xbfa red wall\r\n", "a red wall"),
        ("café".encode(), "café"),
        (b"a red wall\n" + b"x" * 9_988 + "é".encode() * 5_001, "a red wall"),  # cut within the last é
        (b"", ""),
    ],
)
def test_a_caption_is_the_first_line_of_utf8(drop, content, caption):
    if len(content) > 20_000:
        with pytest.raises(UnicodeDecodeError):
            content[:20_000].decode()
    images, told = dropped_images(drop(red__png=None, red__txt=content))
    assert [image.caption for image in images] == [caption]
    assert told == []


@pytest.mark.parametrize(
    "content",
    [
        "café".encode("latin-1"),
        "a red wall".encode("utf-16"),
        "a red wall".encode("utf-16-le"),  # without a mark
        b"a red wall\xc3",  # a file that ends within a character
    ],
)
def test_a_caption_that_is_not_utf8_is_told_and_left_out(drop, content):
    images, told = dropped_images(drop(red__png=None, red__txt=content))
    assert [image.caption for image in images] == [""]
    assert told == ["'red.txt' is not UTF-8 text."]


@pytest.mark.parametrize(
    ("image", "row"),
    [
        (unicodedata.normalize("NFD", "café.png"), "café.png"),
        ("café.png", unicodedata.normalize("NFD", "café.png")),
        ("IMG_1.PNG", "img_1.png"),
        ("a.png", "photos\\a.png"),
        ("a.png", "C:\\my photos\\A.PNG"),
        ("000042.png", "000042"),
    ],
)
def test_a_name_is_found_however_a_file_system_writes_it(drop, image, row):
    images, told = dropped_images(drop(**{image: None, "table.csv": f"image,caption\n{row},a cup\n"}))
    assert [(each.name, each.caption) for each in images] == [(image, "a cup")]
    assert told == []


def test_a_text_file_is_found_whatever_its_case(drop):
    images, told = dropped_images(drop(**{"IMG_1.PNG": None, "img_1.TXT": "a cup"}))
    assert ([image.caption for image in images], told) == (["a cup"], [])


def test_the_name_as_it_is_written_goes_before_others(drop):
    table = "image,caption\nA.png,a mug\na.png,a cup\n"
    images, told = dropped_images(drop(**{"A.png": None, "a.png": None, "table.csv": table}))
    assert ([image.caption for image in images], told) == (["a mug", "a cup"], [])


@pytest.mark.parametrize(("cell", "caption"), [("a mug", "a mug"), ("", "a cup")])
@pytest.mark.parametrize("named", ["red.png", "red"])
def test_a_table_goes_before_a_text_file_where_it_says_something(drop, named, cell, caption):
    images, told = dropped_images(
        drop(red__png=None, red__txt="a cup", table__csv=f"image,caption\n{named},{cell}\n")
    )
    assert [image.caption for image in images] == [caption]
    assert told == []  # both are of an image that is there


def test_rows_that_cannot_be_used_are_told(drop):
    images, told = dropped_images(drop(red__png=None, table__csv="image,caption\nred.png,a wall\nblue.png\n"))
    assert [image.caption for image in images] == ["a wall"]
    assert told == ["'table.csv': 1 row with no image or no caption left out, the first on line 3."]


def test_a_table_that_is_none_is_refused_with_one_sentence(drop):
    with pytest.raises(InvalidInputError, match="table"):
        dropped_images(drop(red__png=None, table__csv="a,b\n1,2\n"))
    with pytest.raises(InvalidInputError, match="must be a list"):
        dropped_images("red.png")
    with pytest.raises(InvalidInputError, match="did not arrive"):
        dropped_images([{"path": "/etc/passwd"}])


def test_what_is_too_much_is_refused_before_it_is_read(drop):
    files = drop(red__png=None, table__json="[")
    with open(files[1]["path"], "r+b") as table:
        table.truncate(5_000_001)  # bytes, none of which is JSON
    with pytest.raises(InvalidInputError, match=r"tables have 5\.0 MB; at most 5 MB"):
        dropped_images(files)
    with pytest.raises(InvalidInputError, match="There are 201 files; at most 200"):
        dropped_images([{"path": "/nowhere/red.png"}] * 201)


def test_the_examples_are_pictures_of_the_gallery_with_captions():
    images = gallery_images(EXAMPLE)
    assert len(images) == 12
    assert all(image.caption and image.path.exists() for image in images)
    with pytest.raises(InvalidInputError, match="no picture"):
        gallery_images(["../../etc/passwd"])


async def test_each_model_has_a_heatmap_and_the_best_texts_are_marked(services, drop):
    plots, page, _ = await run(
        services, drop(red__png=None, green__png=None), texts="red\n\ngreen\n", engines=("",)
    )
    assert [figure["title"] for figure in plots["figures"]] == [
        "colours on fake", "shapes on fake", "Calibration",
    ]  # fmt: skip
    first = plots["figures"][0]
    assert first["pairs"] == [[0, 0], [1, 1]]
    assert "Own text first: 100% of the 2 images with a text of their own." in first["note"]
    assert len(first["scores"]) == len(first["cosines"]) == 2
    assert plots["names"] == ["red.png", "green.png"]
    assert all(each.startswith("data:image/jpeg") for each in plots["images"])
    assert "✓ red 100.0 %, cosine 1.000" in page.text
    assert "colours on fake and shapes on fake 1.000 1.000 100% 100%" in page.text
    assert "colours on fake 100%" in page.text  # own text first
    assert "commit" in page.text  # where the numbers are from
    json.dumps(plots, allow_nan=False)


async def test_what_is_left_out_is_named_and_nothing_becomes_markup(services, drop):
    evil = "<img src=x onerror=alert(1)> ${value} {{value}}"
    files = drop(red__png=None, green__png=None, broken__png="no picture", lost__txt="A caption")
    plots, page, _ = await run(services, files, texts=f"red\n{evil}", models=["colours"])
    assert "Left out: 'broken.png' is not a JPEG, PNG" in page.text
    assert "1 caption without an image among the dropped files: lost." in page.text
    assert "There is one column only" in page.text
    assert "not known which text describes which image" in page.text
    assert page.tags <= {
        "div",
        "p",
        "h3",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "img",
        "br",
        "small",
        "a",
    }
    assert plots["texts"][1] == evil  # set as text by the script
    assert plots["figures"][0]["texts"][1] == escape_ticks(evil)
    assert "<" not in plots["figures"][0]["texts"][1]
    assert len(plots["figures"]) == 1  # no calibration without pairs


async def test_where_no_column_answers_there_is_one_error_and_nothing_is_drawn(services, drop):
    files = drop(red__png=None, green__png=None)
    for model in MODELS:
        (await services.engine(model, "")).engine.engine.error = InferenceError(f"{model} has no memory")
    with pytest.raises(gr.Error, match="colours has no memory"):
        await run(services, files, texts="red\ngreen")


async def test_one_column_that_is_left_says_why_there_is_no_agreement(services, drop):
    (await services.engine("shapes", "")).engine.engine.error = InferenceError("no memory is left")
    plots, page, _ = await run(services, drop(red__png=None, green__png=None), texts="red\ngreen")
    assert [figure["title"] for figure in plots["figures"]] == ["colours on fake", "Calibration"]
    assert "no memory is left" in page.text
    assert "One column only could answer; agreement is between two." in page.text
    assert "choose another model" not in page.text


async def test_one_image_and_one_text_show_no_figure_that_had_no_choice(services, drop):
    files = drop(red__png=None, green__png=None)
    plots, page, _ = await run(services, files[:1], texts="red")
    assert "colours on fake and shapes on fake - - - -" in page.text
    assert "Own text first" not in plots["figures"][0]["note"]
    assert "There are no intervals" in page.text
    assert "[" not in page.text
    _, page, _ = await run(services, files, texts="red\ngreen")
    assert "In brackets: 95 % bootstrap intervals" in page.text
    assert "[" in page.text


async def test_images_of_the_same_name_that_cannot_be_read_are_told_apart(services, drop):
    files = drop(**{"red.png": None, "broken.png": "no picture", "folder/broken.png": "none either"})
    _, page, _ = await run(services, files, texts="red")
    assert "⚠ Left out: 'broken.png' is not a JPEG" in page.text
    assert "⚠ Left out 'broken.png (2)': 'broken.png' is not a JPEG" in page.text


async def test_pictures_of_the_gallery_come_with_their_captions(services):
    names = [image.path.name for image in gallery()[:3]]
    plots, page, _ = await run(services, pictures=names)
    assert plots["texts"] == [image.caption for image in gallery()[:3]]
    assert "Best text of each image" in page.text


async def test_results_can_be_downloaded_in_three_formats(services, drop):
    _, _, shown = await run(services, drop(red__png=None, green__png=None), texts="red\ngreen")
    paths = [Path(update["value"]) for update in shown[2:]]
    assert [path.suffix for path in paths] == [".csv", ".json", ".md"]
    assert all(update["visible"] for update in shown[2:])
    assert paths[0].read_text("utf-8").startswith("model,engine,image,text,own,score_kind,score,cosine\n")
    assert json.loads(paths[1].read_text("utf-8"))["provenance"]["machine"]["model"]
    assert paths[2].read_text("utf-8").startswith("Measured on ")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"files": None}, "There are no images"),
        ({"models": []}, "Choose at least one of the models colours, shapes"),
        ({"models": ["other"]}, "Choose at least one of the models"),
        ({"pictures": ["nothing.jpg"]}, "no picture 'nothing.jpg'"),
        ({"texts": 5, "pictures": ["cat.jpg"]}, "must be text"),
    ],
)
async def test_mistakes_are_toasts(services, changes, sentence):
    with pytest.raises(gr.Error, match=sentence):
        await run(services, **changes)


def test_a_quote_in_a_tick_is_one_that_plotly_knows():
    assert escape_ticks('"it\'s" <b>') == "&#34;it&#39;s&#34; &lt;b&gt;"
