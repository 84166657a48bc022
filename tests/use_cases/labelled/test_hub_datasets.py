"""Datasets of the hub give images with their labels, with a stand-in for the package that loads them."""

import sys
from types import SimpleNamespace

import pytest

from engines.errors import BackendUnavailableError
from tests.use_cases.labelled.test_files import png
from use_cases.labelled import hub_datasets
from use_cases.labelled.files import open_labelled
from use_cases.labelled.hashing import hash_set


class FakeRows:
    """What `datasets.load_dataset` returns, as far as it is used."""

    def __init__(self, label_feature, labels, missing=None):
        image = type("Image", (), {})()
        self.features = {"picture": image, "label": label_feature}
        self._labels = labels
        self._missing = missing or {}  # what is there instead of an image, by the row

    def cast_column(self, column, feature):
        assert column == "picture"
        return self

    def __getitem__(self, key):
        if key == "label":
            return self._labels
        return {"picture": self._missing.get(key, {"bytes": png(), "path": None})}


@pytest.mark.parametrize(
    ("feature", "labels", "expected"),
    [
        (SimpleNamespace(names=["a_cat", "dog"]), [1, 0, -1], [("dog",), ("a cat",)]),
        (
            SimpleNamespace(feature=SimpleNamespace(names=["cat", "dog"])),
            [[0, 1], [1], []],
            [("cat", "dog"), ("dog",)],
        ),
        (SimpleNamespace(dtype="int64"), [0, 1, -1], [("0",), ("1",)]),
        (SimpleNamespace(dtype="string"), ["cat|dog", "dog", ""], [("cat", "dog"), ("dog",)]),
    ],
)
def test_a_dataset_of_the_hub(monkeypatch, feature, labels, expected):
    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return FakeRows(feature, labels)

    package = SimpleNamespace(load_dataset=load_dataset, Image=lambda decode: None)
    monkeypatch.setitem(sys.modules, "datasets", package)
    monkeypatch.setattr(hub_datasets, "find_spec", lambda name: package)
    dataset = open_labelled("hf:owner/pets:validation")
    assert asked == [("owner/pets", "validation")]
    assert [image.labels for image in dataset.images] == expected
    assert dataset.left_out == {"000002": "It has no label."}
    assert len(hash_set(dataset).digests) == 2


def test_rows_of_the_hub_without_an_image_are_left_out(monkeypatch):
    missing = {1: None, 2: {"bytes": None, "path": None}, 3: {"bytes": None, "path": "gone.png"}}
    rows = FakeRows(SimpleNamespace(names=["cat", "dog"]), [0, 1, 0, 1, 1], missing)
    package = SimpleNamespace(load_dataset=lambda name, split: rows, Image=lambda decode: None)
    monkeypatch.setitem(sys.modules, "datasets", package)
    monkeypatch.setattr(hub_datasets, "find_spec", lambda name: package)
    hashed = hash_set(open_labelled("hf:owner/pets"))
    assert len(hashed.digests) == 2
    assert hashed.dataset.left_out == {
        "000001": "It has no image.",
        "000002": "It has no image.",
        "000003": "It cannot be read (No such file or directory).",
    }


def test_names_of_the_hub_that_read_the_same_are_one_label_and_that_is_said(monkeypatch):
    rows = FakeRows(SimpleNamespace(names=["a_cat", "dog", "a cat"]), [0, 1, 2])
    package = SimpleNamespace(load_dataset=lambda name, split: rows, Image=lambda decode: None)
    monkeypatch.setitem(sys.modules, "datasets", package)
    monkeypatch.setattr(hub_datasets, "find_spec", lambda name: package)
    dataset = open_labelled("hf:owner/pets")
    assert dataset.labels == ("a cat", "dog")
    assert dataset.notes == ("Names that read the same are one label: 'a_cat' and 'a cat' as 'a cat'.",)


def test_a_dataset_of_the_hub_that_cannot_be_had_is_one_sentence(monkeypatch):
    monkeypatch.setattr(hub_datasets, "find_spec", lambda name: None)
    with pytest.raises(
        BackendUnavailableError, match=r"needs the package datasets; run: pip install datasets"
    ):
        open_labelled("hf:owner/pets")

    def load_dataset(name, split):
        raise ConnectionError("no network\nmore of it")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setattr(hub_datasets, "find_spec", lambda name: object())
    with pytest.raises(
        BackendUnavailableError, match=r"'owner/pets', split 'test', cannot be loaded \(no network\)"
    ):
        open_labelled("hf:owner/pets")
