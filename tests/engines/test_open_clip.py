"""open_clip checkpoints equal open_clip: transforms, tokens, embeddings, scores."""

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from engines.errors import InvalidInputError
from engines.factory import load_engine, resolve_model
from engines.preparation.preprocess import Preprocessor

FIXTURES = ["tiny_open_clip", "tiny_open_clip_siglip", "tiny_open_clip_conv"]
TEXTS = [
    "a photo of a cat",
    "Two RED buses,\n\tin a street!",
    "",
    "  it's 1,234.5 o'clock; they'll say WE'VE won  ",
    "snake_case &amp;amp; &lt;b&gt; â€œquotesâ€ ﬁne",
    "ünïcode 猫 🐈‍⬛ ٣٤ Ⅷ ½ İstanbul ǅ",
    "a <end_of_text> in the middle",
    "a very long text about a cat and a dog " * 10,
    "\x00\x1c\x85\u200b\ufeff control",
]


@pytest.fixture(params=FIXTURES, scope="module")
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(5)
    sizes = [(48, 64), (65, 40), (300, 201), (1, 1), (33, 90), (90, 37)]
    return [Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)) for size in sizes]


def test_embeddings_and_logits_equal_those_of_open_clip(folder, images):
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    pixels = torch.stack([transform(image) for image in images])
    with torch.inference_mode():
        expected_images = model.encode_image(pixels, normalize=True).numpy()
        expected_texts = model.encode_text(tokens, normalize=True).numpy()
        expected_logits = model.get_logits(pixels, tokens)[0].numpy()
    spec = resolve_model(str(folder))
    engine, preprocessor = load_engine(spec, "torch-fp32"), Preprocessor(spec)
    prepared = [preprocessor.prepare_image(image) for image in images]
    np.testing.assert_allclose(np.stack(prepared), pixels.numpy(), atol=1e-5)
    texts = [preprocessor.prepare_text(text) for text in TEXTS]
    assert [list(text.ids) for text in texts] == tokens.tolist()
    image_rows, text_rows = engine.embed_pixels(prepared), engine.embed_tokens(texts)
    np.testing.assert_allclose(image_rows, expected_images, atol=1e-4)
    np.testing.assert_allclose(text_rows, expected_texts, atol=1e-4)
    logits = spec.logit_scale * image_rows @ text_rows.T + spec.logit_bias
    np.testing.assert_allclose(logits, expected_logits, atol=1e-3)


def test_facts_come_from_the_configuration(tiny_open_clip, tiny_open_clip_siglip, tiny_open_clip_conv):
    clip, siglip, conv = (
        resolve_model(str(folder)) for folder in (tiny_open_clip, tiny_open_clip_siglip, tiny_open_clip_conv)
    )
    assert {spec.family for spec in (clip, siglip, conv)} == {"open_clip"}
    assert (clip.score, clip.resize_mode, clip.resample) == ("softmax", "torchvision_crop", "bicubic")
    assert (siglip.score, siglip.resize_mode, siglip.logit_bias) == ("sigmoid", "squash", -10)
    assert (siglip.tokenizer, siglip.text_cleaning) == ("files", "ftfy_canonicalize")
    assert (conv.tokenizer, conv.text_cleaning, conv.resample) == ("clip_bpe", "ftfy_lower", "bilinear")
    assert (conv.image_mean, conv.image_std, conv.image_size) == ((0, 0, 0), (1, 1, 1), 64)


@pytest.mark.parametrize("fixture", FIXTURES)
def test_patches_are_tokens_for_every_kind_of_tower(request, images, fixture):
    spec = resolve_model(str(request.getfixturevalue(fixture)))
    preprocessor = Preprocessor(spec)
    patches = load_engine(spec, "torch-fp32").embed_patches(
        [preprocessor.prepare_image(image) for image in images]
    )
    # 4 x 4 and 10 x 10 patches after a class token; 2 x 2 places of the last feature map.
    tokens = {"tiny_open_clip": 17, "tiny_open_clip_siglip": 101, "tiny_open_clip_conv": 4}
    assert patches.shape[:2] == (6, tokens[fixture])


def test_random_text_gives_open_clip_s_tokens(tiny_open_clip):
    rng = np.random.default_rng(6)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_open_clip}")
    preprocessor = Preprocessor(resolve_model(str(tiny_open_clip)))
    for first, last in ((32, 127), (32, 0x250), (0x370, 0x700), (0x2000, 0x2C00), (0x4E00, 0x4F00)):
        for _ in range(40):
            text = "".join(map(chr, rng.integers(first, last, 12)))
            assert list(preprocessor.prepare_text(text).ids) == tokenizer([text])[0].tolist(), repr(text)


def edit(folder, **changes):
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        config[key] = {**config[key], **value}
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "open_clip_model.safetensors").unlink(), r"has no \*\.safetensors"),
        (lambda folder: edit(folder, preprocess_cfg={"resize_mode": "longest"}), "by 'longest'"),
        (lambda folder: edit(folder, model_cfg={"multimodal_cfg": {}}), "captioning model"),
        (lambda folder: edit(folder, model_cfg={"text_cfg": {"hf_model_name": "roberta"}}), "'roberta'"),
        (lambda folder: edit(folder, model_cfg={"embed_dim": 24}), "Cannot load the checkpoint"),
        (lambda folder: (folder / "open_clip_config.json").write_text("{}"), "names no model"),
        (
            lambda folder: edit(
                folder, model_cfg={"text_cfg": {"tokenizer_kwargs": {"reduction_mask": "x"}}}
            ),
            "for its tokenizer",
        ),
    ],
)
def test_each_damage_gets_its_sentence(tiny_open_clip, tmp_path, damage, sentence):
    folder = shutil.copytree(tiny_open_clip, tmp_path / "broken")
    damage(folder)
    with pytest.raises(InvalidInputError, match=sentence):
        load_engine(str(folder), "torch-fp32")


def test_a_missing_tokenizer_gets_its_sentence(tiny_open_clip_siglip, tmp_path):
    folder = shutil.copytree(tiny_open_clip_siglip, tmp_path / "broken")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InvalidInputError, match="add the model's tokenizer"):
        Preprocessor(resolve_model(str(folder)))
