"""Fit scale and bias on held-out concepts, so that the scores mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engines.bundled.recipe.train import Loss

_NUM_STEPS = 200


def fit_scale_and_bias(rows: Sequence[tuple[Tensor, Tensor]], loss: Loss) -> tuple[float, float]:
    """Minimise the loss's own likelihood over (cosines [n, n_labels], target [n]) of several label lists.

    A target of -1 stands for an image that none of the labels names; the softmax cannot use it.
    """
    log_scale = torch.tensor(2.5, requires_grad=True)
    bias = torch.tensor(-5.0 if loss == "sigmoid" else 0.0, requires_grad=loss == "sigmoid")
    parameters = [log_scale, bias] if loss == "sigmoid" else [log_scale]
    optimizer = torch.optim.LBFGS(parameters, max_iter=_NUM_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        cost = torch.stack(
            [_cost(log_scale.exp() * cosines + bias, target, loss) for cosines, target in rows]
        ).mean()
        cost.backward()
        return cost

    optimizer.step(closure)
    return float(log_scale.detach().exp()), float(bias.detach())


def _cost(logits: Tensor, target: Tensor, loss: Loss) -> Tensor:
    if loss == "softmax":
        return functional.cross_entropy(logits, target)
    wanted = functional.one_hot(target.clamp(min=0), logits.shape[1]).float() * (target >= 0)[:, None]
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1).mean()
