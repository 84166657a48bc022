from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from engines.bundled.model import FEATURE_DIM, ImageHead, TextHead
from engines.bundled.recipe.calibrate import fit_scale_and_bias
from engines.bundled.recipe.cutouts import Picture, difference_hash
from engines.bundled.recipe.evaluate import NUM_FOLDS, fold_of, split_by_concept, split_by_picture, top_k
from engines.bundled.recipe.experiment import summarize
from engines.bundled.recipe.items import Item, concept_of
from engines.bundled.recipe.train import Heads, _Objective, join_heads
from engines.bundled.recipe.wordnet import WordNet

_DATA = """\
  1 a line of the licence
00000010 03 n 01 animal 0 000 | a living organism; "animals move"
00000020 03 n 02 cat 0 true_cat 0 001 @ 00000010 n 0000 | a feline mammal
00000030 03 n 01 sea_lion 0 001 @ 00000010 n 0000 | a large eared seal
"""
_INDEX = """\
  1 a line of the licence
animal n 1 0 1 1 00000010
cat n 1 1 @ 1 1 00000020
sea_lion n 1 1 @ 1 1 00000030
tabby n 2 1 @ 2 1 00000010 00000020
"""


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    (tmp_path / "data.noun").write_text(_DATA)
    (tmp_path / "index.noun").write_text(_INDEX)
    (tmp_path / "noun.exc").write_text("kittycats cat\n")
    return WordNet(tmp_path)


@pytest.mark.parametrize(
    ("caption", "concept"),
    [
        ("A big cat.", "cat"),
        ("two sea lions", "sea lion"),
        ("a cat with an animal", "cat"),
        ("kittycats", "cat"),
        ("a spaceship", None),
    ],
)
def test_concept_is_the_noun_that_ends_the_caption(
    wordnet: WordNet, caption: str, concept: str | None
) -> None:
    assert concept_of(caption, wordnet) == concept


def test_meanings_are_linked_upwards(wordnet: WordNet) -> None:
    cat = wordnet.senses("cat")[0]
    assert wordnet.is_a(cat, "animal")
    assert cat.definition == "a feline mammal"
    assert [parent.words for parent in wordnet.ancestors(cat)] == [("animal",)]


def test_every_fold_gets_concepts_and_a_concept_keeps_its_fold() -> None:
    folds = [fold_of(f"concept {i}") for i in range(100)]
    assert set(folds) == set(range(NUM_FOLDS))
    assert folds == [fold_of(f"concept {i}") for i in range(100)]


def test_split_by_picture_measures_new_pictures_of_known_concepts(
    wordnet: WordNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WordNet, "is_a", lambda *_: True)
    generator = torch.Generator().manual_seed(0)
    hashes = [int(h) for h in torch.randint(1 << 62, (40,), generator=generator)]
    pictures = [
        Picture(
            Item(path=f"/animals/{i}.png", source="stamps", photo=True, captions=("cat",), concept="cat"),
            Path(f"{i}.png"),
            hashes[i // 2] if i < 20 else hashes[i],  # the first twenty come in pairs of look-alikes
        )
        for i in range(40)
    ]
    split = split_by_picture(pictures, wordnet)
    for fold, tasks in enumerate(split.tasks):
        measured = {int(i) for task in tasks for i in task.pictures}
        assert measured
        for i in measured:
            assert not split.training[fold][i]
            assert i >= 20 or not split.training[fold][i ^ 1]


def test_a_held_out_concept_is_met_in_training_under_no_name_and_in_no_look_alike(wordnet: WordNet) -> None:
    facts = (
        ("cat", "cat"),
        ("animal", "the true cats' face"),
        ("sea lion", "sea lion"),
        ("sea lion", "seal"),
        ("tabby", "tabby"),  # among others it means a cat
    )
    hashes = (
        0x0123456789ABCDEF, 0xFEDCBA9876543210, 0x0123456789ABCDEE, 0x00FF00FF00FF00FF, 0xFF00FF00FF00FF00
    )  # fmt: skip
    pictures = [
        Picture(
            Item(path=f"/animals/{i}.png", source="stamps", photo=True, captions=(caption,), concept=concept),
            Path(f"{i}.png"),
            hashes[i],
        )
        for i, (concept, caption) in enumerate(facts)
    ]
    split = split_by_concept(pictures, wordnet)
    assert split.training[fold_of("cat")].tolist() == [False, False, False, True, False]
    assert split.training[fold_of("sea lion")].tolist() == [False, True, False, False, True]


def test_top_k_counts_rows_whose_target_is_among_the_best() -> None:
    cosines = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    assert top_k(cosines, torch.tensor([0, 1]), 1) == 0.5
    assert top_k(cosines, torch.tensor([0, 1]), 2) == 1.0


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_right_pairs_cost_less_than_wrong_ones(loss: str) -> None:
    objective = _Objective("sigmoid" if loss == "sigmoid" else "softmax")
    rows, relation = torch.eye(4, 8), 2 * torch.eye(4) - 1
    assert objective(rows, rows, relation) < objective(rows, rows.roll(1, 0), relation)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_related_concepts_are_no_negatives(loss: str) -> None:
    objective = _Objective("sigmoid" if loss == "sigmoid" else "softmax")
    images, texts = torch.eye(2, 8), torch.ones(2, 8) / 8**0.5
    apart, related = 2 * torch.eye(2) - 1, torch.eye(2)
    assert objective(images, texts, related) < objective(images, texts, apart)


@pytest.mark.parametrize("text_hidden", [0, 5])
def test_joined_heads_average_what_their_members_compute(text_hidden: int) -> None:
    torch.manual_seed(0)
    members = []
    for _ in range(3):
        image, text = ImageHead(4).eval(), TextHead(text_hidden).eval()
        for parameter in (*image.out.parameters(), *text.parameters()):
            torch.nn.init.normal_(parameter)
        members.append(Heads(image, text, 2.0, -1.0))
    joined = join_heads(members)
    assert joined.image.hidden.out_features == 12
    features, class_logits, sentence = torch.randn(2, FEATURE_DIM), torch.randn(2, 1000), torch.randn(2, 384)
    # Their tables are zero, so that only the layers speak; rows are compared before they are normalised.
    parts = [head.image.out(functional.gelu(head.image.hidden(features))) for head in members]
    rows = joined.image(features, class_logits)
    torch.testing.assert_close(rows, functional.normalize(torch.stack(parts).mean(0), dim=-1))
    added = [head.text.mlp(sentence) if head.text.mlp else torch.zeros(2, 384) for head in members]
    expected = functional.normalize(sentence + torch.stack(added).mean(0), dim=-1)
    torch.testing.assert_close(joined.text(sentence), expected)
    assert (joined.logit_scale, joined.logit_bias) == (2.0, -1.0)


def test_calibration_makes_right_labels_probable() -> None:
    cosines = torch.full((50, 5), 0.1) + 0.02 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    target = torch.arange(50) % 5
    cosines[torch.arange(50), target] += 0.4
    cosines[0] = 0.1  # one that the model misses, or the scale would grow without end
    scale, bias = fit_scale_and_bias([(cosines, target)], "sigmoid")
    assert torch.sigmoid(torch.tensor(scale * 0.5 + bias)) > 0.9
    assert torch.sigmoid(torch.tensor(scale * 0.1 + bias)) < 0.1


def test_interval_uses_students_t() -> None:
    summary = summarize([{"x": 0.1}, {"x": 0.2}, {"x": 0.3}])["x"]
    assert summary == {"mean": 0.2, "half_width_95": round(4.303 * 0.1 / 3**0.5, 4)}


def test_hash_survives_scaling_and_tells_pictures_apart() -> None:
    image = Image.new("RGB", (90, 80), "white")
    ImageDraw.Draw(image).ellipse((10, 20, 60, 70), fill="black")
    same, other = difference_hash(image.resize((180, 160))), difference_hash(image.rotate(90))
    assert (difference_hash(image) ^ same).bit_count() <= 3
    assert (difference_hash(image) ^ other).bit_count() > 6
