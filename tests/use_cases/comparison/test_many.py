"""Many images against many texts: pairs, what is left out and why, agreement, and tables to keep."""

import csv
import io
import json

import pytest

from engines.errors import InferenceError, InvalidInputError, UnknownModelError
from tests.use_cases.retrieval.pictures import colour_engine, save_colours, stored_spec
from use_cases.comparison.many import (
    MAX_IMAGES,
    ManyQuestion,
    compare_many,
)
from use_cases.comparison.many_tables import many_csv, many_json, many_markdown, summary_cells
from use_cases.comparison.pairs import NamedImage

pytestmark = pytest.mark.anyio
COLOURS = ("red", "green", "blue")


@pytest.fixture
def images(tmp_path):
    folder = save_colours(tmp_path)
    return tuple(NamedImage(f"{name}.png", folder / f"{name}.png") for name in COLOURS)


@pytest.fixture
async def open_engine():
    """Return a function that opens two models; "gone" cannot be loaded, "broken" cannot compute."""
    specs = {
        "colours": stored_spec(),
        "shapes": stored_spec("shapes", score="softmax"),
        "broken": stored_spec("broken"),
    }
    async with (
        colour_engine(specs["colours"]) as colours,
        colour_engine(specs["shapes"]) as shapes,
        colour_engine(specs["broken"]) as broken,
    ):
        broken.engine.engine.error = InferenceError("the runtime failed")
        known = {"colours": colours, "shapes": shapes, "broken": broken}

        async def open_engine(model, engine):
            if model not in known:
                raise UnknownModelError(f"Unknown model {model!r}.")
            return known[model]

        yield open_engine


def captioned(images, *captions):
    return tuple(
        NamedImage(image.name, image.path, caption) for image, caption in zip(images, captions, strict=True)
    )


def question(images, texts=COLOURS, models=("colours", "shapes"), **changes):
    return ManyQuestion(images=images, texts=texts, columns=tuple((model, "") for model in models), **changes)


async def test_each_image_finds_the_text_in_its_place(images, open_engine):
    result = await compare_many(question(images), open_engine)
    assert [column.name for column in result.columns] == ["colours on fake", "shapes on fake"]
    assert result.truth.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    sigmoid, softmax = result.columns
    assert (sigmoid.found, softmax.found) == (1, 1)
    assert softmax.similarity.scores.sum(axis=1) == pytest.approx([1, 1, 1])
    assert sigmoid.calibration.num_predictions == 9
    assert softmax.calibration.num_predictions == 3
    assert result.agreements[0, 1].spearman == pytest.approx(1)
    assert result.agreements[0, 1].same_best_text == 1
    assert all(thumbnail.startswith(b"\xff\xd8") for thumbnail in result.thumbnails)
    assert "Text 1 is taken to describe image 1" in result.notes[0]


async def test_without_texts_the_captions_are_asked_and_tell_the_pairs(images, open_engine):
    named = captioned(images, "red", "", "blue")
    result = await compare_many(question(named, texts=()), open_engine)
    assert result.texts == ("red", "blue")
    assert result.truth.tolist() == [[True, False], [False, False], [False, True]]
    assert result.columns[0].calibration.num_predictions == 4  # the green one is left out
    assert "1 of 3 images have no text of their own among these" in result.notes[0]
    assert result.num_known == 2


async def test_images_without_a_text_of_their_own_are_counted_and_stay_empty_in_the_files(
    images, open_engine
):
    named = captioned(images, "red", "a leaf", "the sea")
    result = await compare_many(question(named, texts=("red", "grey")), open_engine)
    assert result.truth.tolist() == [[True, False], [False, False], [False, False]]
    assert "2 of 3 images have no text of their own among these" in result.notes[0]
    assert result.columns[0].found == 1
    assert result.num_known == 1
    rows = list(csv.DictReader(io.StringIO(many_csv(result))))[:6]
    assert [row["own"] for row in rows] == ["1", "0", "", "", "", ""]
    content = json.loads(many_json(result, {}))
    assert content["own"] == [[True, False], None, None]
    assert content["images_with_own_text"] == 1


async def test_where_only_unreadable_images_have_captions_nothing_is_matched(images, open_engine, tmp_path):
    (tmp_path / "broken.jpg").write_text("only words")
    broken = NamedImage("broken.jpg", tmp_path / "broken.jpg", "red")
    result = await compare_many(question((broken, images[1]), texts=("red",)), open_engine)
    assert result.truth is None
    assert result.columns[0].found is None
    assert "not known which text" in result.notes[0]
    assert json.loads(many_json(result, {}))["own"] is None
    assert [row["own"] for row in csv.DictReader(io.StringIO(many_csv(result)))] == ["", ""]


async def test_no_engine_is_unloaded_between_its_opening_and_its_answer(images, open_engine):
    kept = []

    async def watched(model, engine):
        kept.append([pooled.engine.is_kept for pooled in opened])
        opened.append(await open_engine(model, engine))
        return opened[-1]

    opened = []
    result = await compare_many(question(images, models=("broken", "colours", "shapes")), watched)
    assert kept == [[], [True], [True, True]]
    assert not any(pooled.engine.is_kept for pooled in opened)
    assert [column.pooled for column in result.columns] == opened[1:]


async def test_an_unreadable_image_is_left_out_with_its_reason_and_the_pairs_stay(
    images, open_engine, tmp_path
):
    (tmp_path / "broken.jpg").write_text("only words")
    broken, gone = (
        NamedImage("broken.jpg", tmp_path / "broken.jpg"),
        NamedImage("gone.jpg", tmp_path / "gone.jpg"),
    )
    result = await compare_many(
        question((images[0], broken, images[2], gone), ("red", "green", "blue", "grey")), open_engine
    )
    assert [image.name for image in result.images] == ["red.png", "blue.png"]
    assert result.truth.tolist() == [[True, False, False, False], [False, False, True, False]]
    assert list(result.unreadable) == ["broken.jpg", "gone.jpg"]
    assert result.columns[0].found == 1
    with pytest.raises(InvalidInputError, match="None of the images can be read"):
        await compare_many(question((broken,)), open_engine)


async def test_one_model_that_fails_does_not_take_the_other_with_it(images, open_engine):
    result = await compare_many(question(images, models=("gone", "broken", "colours")), open_engine)
    assert [column.model for column in result.columns] == ["colours"]
    assert result.failures["gone on its best engine"] == "Unknown model 'gone'."
    assert "the runtime failed" in result.failures["broken on fake"]
    assert result.agreements == {}
    with pytest.raises(InvalidInputError, match=r"No model can answer: Unknown model 'gone'\."):
        await compare_many(question(images, models=("gone",)), open_engine)


async def test_where_all_fail_the_error_is_the_first_ones(images, open_engine):
    (await open_engine("colours", "")).engine.engine.error = InferenceError("no memory is left")
    for models in (("colours", "broken"), ("gone", "colours", "broken"), ("colours",)):
        with pytest.raises(InferenceError, match="no memory is left"):
            await compare_many(question(images, models=models), open_engine)


async def test_a_single_text_is_nobodys_choice(images, open_engine):
    result = await compare_many(question(images[:1], ("red",)), open_engine)
    assert result.truth.tolist() == [[True]]
    assert [column.found for column in result.columns] == [None, None]
    content = json.loads(many_json(result, {}))
    assert content["columns"][0]["found"] is None
    assert (content["agreements"][0]["same_best_text"], content["agreements"][0]["same_best_image"]) == (
        None,
        None,
    )
    assert "| colours on fake and shapes on fake | - | - | - | - |" in many_markdown(result, "Here.")


async def test_the_calibration_of_one_image_has_no_interval_in_the_files(images, open_engine):
    result = await compare_many(question(captioned(images, "red", "", ""), ("red", "grey")), open_engine)
    error = json.loads(many_json(result, {}))["columns"][0]["calibration"]["expected_error"]
    assert error["value"] >= 0
    assert (error["low"], error["high"]) == (None, None)
    assert f"| colours on fake | 100% | {error['value']:.3f} | 2 pairs |" in many_markdown(result, "Here.")
    result = await compare_many(question(images), open_engine)
    assert summary_cells(result.columns[0])[1].endswith("]")


async def test_a_caption_counts_where_it_is_used_and_its_image_is_named(images, open_engine, tmp_path):
    long = captioned(images, "red", "x" * 1001, "")
    assert (await compare_many(question(long), open_engine)).texts == COLOURS
    with pytest.raises(
        InvalidInputError, match=r"^The caption of 'green\.png' has 1,001 characters; at most 1,000 may be\.$"
    ):
        await compare_many(question(long, texts=()), open_engine)
    (tmp_path / "broken.jpg").write_text("only words")
    broken = NamedImage("broken.jpg", tmp_path / "broken.jpg", "x" * 1001)
    assert (await compare_many(question((*long[::2], broken), texts=()), open_engine)).texts == ("red",)


async def test_unreadable_images_of_the_same_name_are_all_told(images, open_engine, tmp_path):
    broken = []
    for number in range(2):
        path = tmp_path / str(number) / "image.jpg"
        path.parent.mkdir()
        path.write_text(f"only words {number}")
        broken.append(NamedImage("image.jpg", path))
    numbered = NamedImage("image.jpg (2)", broken[0].path)
    result = await compare_many(question((*broken, numbered, images[0])), open_engine)
    assert list(result.unreadable) == ["image.jpg", "image.jpg (2)", "image.jpg (2) (2)"]
    assert all(reason.startswith("'image.jpg' is not a JPEG") for reason in result.unreadable.values())
    assert json.loads(many_json(result, {}))["unreadable"] == result.unreadable
    page = many_markdown(result, "Measured here.")
    assert "\nimage.jpg: 'image.jpg' is not" in page
    assert "\nimage.jpg (2): 'image.jpg' is not" in page
    twin = NamedImage("image.jpg", images[1].path)  # it can be read, and counts for the number
    result = await compare_many(question((twin, broken[0])), open_engine)
    assert list(result.unreadable) == ["image.jpg (2)"]


async def test_the_same_engine_named_twice_is_one_column(images, open_engine):
    result = await compare_many(question(images, models=("colours", "colours")), open_engine)
    assert len(result.columns) == 1


async def test_where_pairs_are_not_known_nothing_is_matched(images, open_engine):
    for asked in (question(images, ("red", "green")), question(images, in_order=False)):
        result = await compare_many(asked, open_engine)
        assert result.truth is None
        assert result.columns[0].found is None
        assert result.columns[0].calibration is None
        assert "not known which text" in result.notes[0]
    assert ",red.png,red,,sigmoid," in many_csv(result)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": ()}, "There are no images"),
        ({"columns": ()}, "No model is chosen"),
        ({"texts": ()}, "There are no texts"),
        ({"texts": ("x",) * 201}, "There are 201 texts; at most 200"),
        ({"texts": ("x" * 1001,)}, "has 1,001 characters"),
        ({"columns": (("colours", ""),) * 7}, "There are 7 pairs of model and engine"),
    ],
)
async def test_what_cannot_be_compared_is_refused_with_one_sentence(images, open_engine, changes, sentence):
    facts = {"images": images, "texts": COLOURS, "columns": (("colours", ""),)} | changes
    with pytest.raises(InvalidInputError, match=sentence):
        await compare_many(ManyQuestion(**facts), open_engine)


async def test_no_more_than_fifty_images(images, open_engine):
    with pytest.raises(InvalidInputError, match="There are 51 images; at most 50"):
        await compare_many(question(images[:1] * (MAX_IMAGES + 1)), open_engine)


@pytest.mark.parametrize(
    ("texts", "in_order", "truth"),
    [
        (("first", "second"), True, [[False, True], [True, False]]),  # all are captions
        (("other", "more"), True, [[True, False], [False, True]]),
        (("first", "more"), True, [[True, False], [False, True]]),  # one happens to be a caption
        (("first", "more"), False, [[False, False], [True, False]]),
        (("first", "more", "other"), True, [[False, False, False], [True, False, False]]),
    ],
)
async def test_the_order_counts_unless_all_texts_are_captions(images, open_engine, texts, in_order, truth):
    named = captioned(images[:2], "second", "first")
    result = await compare_many(question(named, texts, in_order=in_order), open_engine)
    assert result.truth.tolist() == truth


async def test_images_may_have_the_same_text(images, open_engine):
    texts = ("a dog", "a dog", "a cat")
    result = await compare_many(question(images[:3], texts), open_engine)
    assert result.texts == ("a dog", "a cat")
    assert result.truth.tolist() == [[True, False], [True, False], [False, True]]
    result = await compare_many(question(images[:2], texts), open_engine)  # one text too many for an order
    assert result.truth is None


async def test_the_files_to_keep_hold_every_number_and_escape_what_people_typed(images, open_engine):
    texts = ("red | <b>", "=green", '"blue", red')
    result = await compare_many(question(images, texts), open_engine)
    rows = list(csv.DictReader(io.StringIO(many_csv(result))))
    assert len(rows) == 2 * 3 * 3
    assert rows[2]["text"] == '"blue", red'
    assert float(rows[0]["cosine"]) == pytest.approx(result.columns[0].similarity.cosines[0, 0], rel=1e-5)
    content = json.loads(many_json(result, {"commit": "abc"}))
    assert content["provenance"] == {"commit": "abc"}
    assert content["columns"][1]["cosines"] == result.columns[1].similarity.cosines.tolist()
    assert content["agreements"][0]["second"] == "shapes on fake"
    page = many_markdown(result, "Measured here.")
    assert page.startswith("Measured here.\n\n| image | colours on fake | shapes on fake |\n")
    assert "red \\| \\<b>" in page
    assert len({line.count(" | ") for line in page.splitlines()[2:7] if "---" not in line}) == 1
