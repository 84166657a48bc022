"""Published accuracies name the document that they were read in."""

import pytest

from engines.checkpoints.registry import KNOWN_MODELS
from use_cases.published import published_accuracy


@pytest.mark.parametrize("model", [model.name for model in KNOWN_MODELS])
def test_every_known_model_has_one(model):
    found = published_accuracy(model)
    assert found is not None
    assert 0.6 < found.top1 < 0.9
    assert found.dataset == "ImageNet-1k"
    assert found.url.startswith("https://")
    assert found.source


def test_a_revision_of_a_model_is_that_model():
    assert published_accuracy("google/siglip2-base-patch16-224@main") == published_accuracy(
        "google/siglip2-base-patch16-224"
    )


@pytest.mark.parametrize("model", ["siglit-mini", "random:siglip-base-patch16-224", "folder"])
def test_nothing_is_published_of_other_models(model):
    assert published_accuracy(model) is None
