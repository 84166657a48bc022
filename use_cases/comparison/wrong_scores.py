"""The mistake after the towers: the other family's function on the right logits."""

from __future__ import annotations

from engines.models import ModelSpec
from use_cases.comparison.wrongs import Altered, Wrong


def wrong_scores(spec: ModelSpec) -> list[Wrong]:
    """Return softmax on a sigmoid model's logits, and sigmoid on a softmax model's."""
    is_sigmoid = spec.score == "sigmoid"
    softmax = (
        "softmax_on_sigmoid",
        "Softmax on SigLIP's logits",
        "A softmax shares out 100 %, so it must pick a winner even where the sigmoid says that nothing fits.",
    )
    sigmoid = (
        "sigmoid_on_softmax",
        "Sigmoid on CLIP's logits",
        "CLIP was trained without a bias, so its logits only mean something beside one another: the"
        " sigmoid of one says nothing, and is often 100 % for all.",
    )
    other = f"{spec.name} was trained with a {spec.score}, so a {spec.score} is right."
    return [
        Wrong(*softmax, Altered(score="softmax")) if is_sigmoid else Wrong(*softmax, reason=other),
        Wrong(*sigmoid, reason=other) if is_sigmoid else Wrong(*sigmoid, Altered(score="sigmoid")),
    ]
