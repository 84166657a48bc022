"""Train heads with the sigmoid or the softmax loss; everything else is equal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.bundled.model import ImageHead, TextHead
from engines.bundled.recipe.dataset import PairData, pseudo_features

Loss = Literal["sigmoid", "softmax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The budget and the mixture, the same for both losses."""

    num_members: int = 3  # runs with seeds of their own, whose heads are joined into one
    num_steps: int = 200  # of each run
    batch_size: int = 448
    photo_share: float = 0.2  # of a batch: cut-out photographs
    drawing_share: float = 0.4  # of a batch: drawings and emoji; the rest are pseudo-pairs
    hidden: int = 256  # of the image head of each run
    text_hidden: int = 0  # 0 keeps the sentence space as it is
    dropout: float = 0.4
    learning_rate: float = 1e-3
    table_rate: float = 2e-3  # the class table's
    weight_decay: float = 0.05
    sharpness: float = 1.5  # first inverse temperature of the class probabilities
    anchor: float = 0.0  # pull of the class table to its start
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Heads:
    """What a run leaves behind."""

    image: ImageHead
    text: TextHead
    logit_scale: float  # the exponential is taken
    logit_bias: float


class _Objective(nn.Module):
    """The loss with its learned temperature and, for the sigmoid, its bias."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss
        first = 10.0 if loss == "sigmoid" else 1 / 0.07  # as in SigLIP and CLIP
        self.log_scale = nn.Parameter(torch.tensor(math.log(first)))
        self.bias = nn.Parameter(torch.tensor(-10.0 if loss == "sigmoid" else 0.0))

    def forward(self, images: Tensor, texts: Tensor, relation: Tensor) -> Tensor:
        """Average the loss of a batch; relation [n, n] is 1 for pairs, 0 for pairs that do not count."""
        logits = self.log_scale.exp().clamp(max=100) * images @ texts.T + self.bias
        if self.loss == "sigmoid":
            return -(functional.logsigmoid(relation * logits) * (relation != 0)).sum() / len(logits)
        own = torch.eye(len(logits), dtype=torch.bool)
        masked = logits.masked_fill((relation >= 0) & ~own, -1e4)  # other positives are no negatives
        target = torch.arange(len(logits))
        return (functional.cross_entropy(masked, target) + functional.cross_entropy(masked.T, target)) / 2


def train_heads(data: PairData, chosen: Tensor, table: Tensor, loss: Loss, plan: TrainingPlan) -> Heads:
    """Train on the chosen pictures (bool per picture) and on pseudo-pairs built from them."""
    seeds = range(plan.seed * plan.num_members, (plan.seed + 1) * plan.num_members)
    return join_heads([_train_once(data, chosen, table, loss, replace(plan, seed=seed)) for seed in seeds])


@torch.no_grad()
def join_heads(members: Sequence[Heads]) -> Heads:
    """Average what several runs compute, before it is normalised, in one pair of heads: a small ensemble.

    The hidden units stand side by side; the class tables and their sharpness are averaged.
    """
    images, texts = [member.image for member in members], [member.text for member in members]
    image = ImageHead(sum(head.hidden.out_features for head in images)).eval()
    for name in ("mean", "std", "table", "sharpness"):
        getattr(image, name).copy_(torch.stack([getattr(head, name) for head in images]).mean(0))
    _join_layers(image.hidden, image.out, [(head.hidden, head.out) for head in images])
    mlps: list[Any] = [head.mlp for head in texts if head.mlp is not None]
    text = TextHead(sum(mlp[0].out_features for mlp in mlps)).eval()
    if mlps:
        joined: Any = text.mlp
        _join_layers(joined[0], joined[2], [(mlp[0], mlp[2]) for mlp in mlps])
    return Heads(
        image,
        text,
        statistics.fmean(member.logit_scale for member in members),
        statistics.fmean(member.logit_bias for member in members),
    )


def _join_layers(first: nn.Linear, last: nn.Linear, members: Sequence[tuple[nn.Linear, nn.Linear]]) -> None:
    first.weight.copy_(torch.cat([layer.weight for layer, _ in members]))
    first.bias.copy_(torch.cat([layer.bias for layer, _ in members]))
    last.weight.copy_(torch.cat([layer.weight for _, layer in members], dim=1) / len(members))
    last.bias.copy_(torch.stack([layer.bias for _, layer in members]).mean(0))


def _train_once(data: PairData, chosen: Tensor, table: Tensor, loss: Loss, plan: TrainingPlan) -> Heads:
    torch.manual_seed(plan.seed)
    generator = torch.Generator().manual_seed(plan.seed)
    image_head, text_head = ImageHead(plan.hidden, plan.dropout), TextHead(plan.text_hidden)
    _start(image_head, data, chosen, table, plan)
    objective = _Objective(loss)
    optimizer = _optimizer(image_head, text_head, objective, plan)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=plan.num_steps,
        pct_start=0.1,
    )
    sampler = _Sampler(data, chosen, plan, generator)
    image_head.train()
    for _ in range(plan.num_steps):
        pooled, class_logits, texts, concepts = sampler.batch()
        relation = data.relation[concepts][:, concepts].float()
        cost = objective(image_head(pooled, class_logits), text_head(texts), relation)
        if plan.anchor:
            cost = cost + plan.anchor * (image_head.table - table).square().sum(1).mean()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        schedule.step()
    scale, bias = objective.log_scale.detach().exp(), objective.bias.detach()
    return Heads(image_head.eval(), text_head.eval(), float(scale), float(bias))


def _start(head: ImageHead, data: PairData, chosen: Tensor, table: Tensor, plan: TrainingPlan) -> None:
    pooled = data.views.pooled[chosen[data.views.picture]].float()
    head.mean.copy_(pooled.mean(0))
    head.std.copy_(pooled.std(0).clamp(min=1e-3))
    head.table.data.copy_(table)
    head.sharpness.data.fill_(plan.sharpness)


def _optimizer(
    image_head: ImageHead, text_head: TextHead, objective: nn.Module, plan: TrainingPlan
) -> torch.optim.AdamW:
    layers = [*image_head.hidden.parameters(), *image_head.out.parameters(), *text_head.parameters()]
    return torch.optim.AdamW(
        [
            {"params": layers, "lr": plan.learning_rate, "weight_decay": plan.weight_decay},
            {"params": [image_head.table], "lr": plan.table_rate, "weight_decay": 0.0},
            {"params": [image_head.sharpness, *objective.parameters()], "lr": 1e-2, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),  # as SigLIP; the usual 0.999 is unstable with the sigmoid loss
    )


class _Sampler:
    """Draws batches: photographs and drawings evenly by concept, pseudo-pairs evenly by class."""

    def __init__(
        self, data: PairData, chosen: Tensor, plan: TrainingPlan, generator: torch.Generator
    ) -> None:
        self._data, self._generator = data, generator
        view_ok = chosen[data.views.picture]
        photo = data.photo[data.views.picture]
        self._photos, self._drawings = (torch.nonzero(view_ok & kind)[:, 0] for kind in (photo, ~photo))
        self._num_photos = round(plan.batch_size * plan.photo_share)
        self._num_drawings = round(plan.batch_size * plan.drawing_share)
        self._num_pseudo = plan.batch_size - self._num_photos - self._num_drawings
        concept = data.concept[data.views.picture]
        counts = torch.bincount(concept[view_ok], minlength=len(data.relation)).float().clamp(min=1)
        self._weights = 1 / counts[concept].sqrt()  # rare concepts more often, but not equally often

    def _draw(self, views: Tensor, num: int) -> Tensor:
        return views[
            torch.multinomial(self._weights[views], num, replacement=True, generator=self._generator)
        ]

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return features, class logits, text embeddings and concepts of one batch."""
        data = self._data
        real = torch.cat(
            [self._draw(self._photos, self._num_photos), self._draw(self._drawings, self._num_drawings)]
        )
        classes = torch.randint(len(data.class_concept), (self._num_pseudo,), generator=self._generator)
        base = self._draw(self._photos, self._num_pseudo)
        pooled, logits = pseudo_features(data, classes, base, self._generator)
        pictures = data.views.picture[real]
        texts = [self._text(int(owner)) for owner in pictures]
        texts += [self._text(len(data.photo) + int(owner)) for owner in classes]
        return (
            torch.cat([data.views.pooled[real].float(), pooled]),
            torch.cat([data.views.class_logits[real].float(), logits]),
            data.texts.rows[torch.tensor(texts)],
            torch.cat([data.concept[pictures], data.class_concept[classes]]),
        )

    def _text(self, owner: int) -> int:
        group = self._data.texts.groups[owner]
        return int(group[torch.randint(len(group), (1,), generator=self._generator)])
