"""Checkpoints with random weights: transformers and our own code read the same tokens from them."""

import pytest

from app.cli import random_checkpoint
from engines.checkpoints.find import read_checkpoint_spec
from engines.checkpoints.random_weights import (
    RANDOM_CHECKPOINTS,
    ensure_random_checkpoint,
    write_clip,
    write_siglip,
)
from engines.errors import UnknownModelError
from engines.preparation.preprocess import Preprocessor, clean_text
from tests.checkpoints import TOWER, VISION, build_tiny_siglip

TEXTS = ("This is a photo of a cat.", "zebra, 42 xylophones & a naïve café", "a " * 40, "")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Tiny towers with vocabularies large enough to need fillers."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("siglip", "siglip2", "clip")}
    text = TOWER | {"max_position_embeddings": 16}
    write_siglip(folders["siglip"], vocab_size=2_000, text=text, vision=VISION)
    write_siglip(folders["siglip2"], vocab_size=2_000, text=text, vision=VISION, gemma=True)
    write_clip(folders["clip"], vocab_size=2_000, text=text, vision=VISION, dim=16)
    return folders


@pytest.mark.parametrize("family", ["siglip", "siglip2", "clip"])
@pytest.mark.parametrize("text", TEXTS)
def test_transformers_reads_the_same_tokens(checkpoints, family, text):
    from transformers import AutoTokenizer

    folder = checkpoints[family]
    spec = read_checkpoint_spec(folder, family)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == 2_000
    padding = "max_length" if spec.pad_to_context else False
    theirs = tokenizer(clean_text(text, spec), padding=padding, truncation=True, max_length=16)["input_ids"]
    assert list(Preprocessor(spec).prepare_text(text).ids) == theirs
    assert max(theirs) < 2_000


def test_a_common_caption_takes_about_a_token_a_word(checkpoints):
    preprocessor = Preprocessor(read_checkpoint_spec(checkpoints["clip"], "clip"))
    assert len(preprocessor.prepare_text("a photo of a cat").ids) == 7  # with start and end


def test_the_same_recipe_gives_the_same_bytes(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        build_tiny_siglip(folder)
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second


def test_a_name_without_a_recipe_lists_those_with_one(tmp_path):
    with pytest.raises(UnknownModelError, match="clip-vit-base-patch32"):
        ensure_random_checkpoint("resnet", tmp_path)


def test_the_command_writes_into_a_new_folder_only(tmp_path, monkeypatch, capsys):
    def write_tiny(folder):
        build_tiny_siglip(folder)

    monkeypatch.setattr(
        "engines.checkpoints.random_weights.RANDOM_CHECKPOINTS",
        dict(RANDOM_CHECKPOINTS) | {"tiny": write_tiny},
    )
    assert random_checkpoint.main(["tiny", str(tmp_path / "tiny")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "tiny")
    assert read_checkpoint_spec(tmp_path / "tiny", "tiny").family == "siglip"
    assert random_checkpoint.main(["tiny", str(tmp_path / "tiny")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert random_checkpoint.main(["resnet", str(tmp_path / "new")]) == 2
    assert "No random checkpoint 'resnet'" in capsys.readouterr().err
