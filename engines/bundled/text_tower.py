"""The text tower: all-MiniLM-L6-v2 (BERT with mean pooling) in plain torch, so that it exports cleanly."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from engines.bundled.towers import locate_tower

TEXT_DIM = 384
_HEADS = 12
_FEED_FORWARD = 1536
_VOCABULARY = 30522
_POSITIONS = 512
_LAYERS = 6
_EPSILON = 1e-12  # BERT's layer norm


class _Embeddings(nn.Module):
    """Sum of word, position and segment embeddings; the segment is always the first."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(_VOCABULARY, TEXT_DIM)
        self.position_embeddings = nn.Embedding(_POSITIONS, TEXT_DIM)
        self.token_type_embeddings = nn.Embedding(2, TEXT_DIM)
        self.LayerNorm = nn.LayerNorm(TEXT_DIM, eps=_EPSILON)

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        summed = self.word_embeddings(input_ids) + self.position_embeddings(positions)  # [n, t, d]
        normed: Tensor = self.LayerNorm(summed + self.token_type_embeddings.weight[0])
        return normed


class _Layer(nn.Module):
    """One post-norm transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(TEXT_DIM, TEXT_DIM)
        self.key = nn.Linear(TEXT_DIM, TEXT_DIM)
        self.value = nn.Linear(TEXT_DIM, TEXT_DIM)
        self.attended = nn.Linear(TEXT_DIM, TEXT_DIM)
        self.attended_norm = nn.LayerNorm(TEXT_DIM, eps=_EPSILON)
        self.wide = nn.Linear(TEXT_DIM, _FEED_FORWARD)
        self.narrow = nn.Linear(_FEED_FORWARD, TEXT_DIM)
        self.output_norm = nn.LayerNorm(TEXT_DIM, eps=_EPSILON)

    def forward(self, hidden: Tensor, penalty: Tensor) -> Tensor:
        n, t, _ = hidden.shape
        query, key, value = (
            linear(hidden)
            .reshape(n, t, _HEADS, TEXT_DIM // _HEADS)
            .transpose(1, 2)  # [n, heads, t, d / heads]
            for linear in (self.query, self.key, self.value)
        )
        weights = query @ key.transpose(2, 3) / (TEXT_DIM // _HEADS) ** 0.5 + penalty  # [n, heads, t, t]
        mixed = (torch.softmax(weights, dim=-1) @ value).transpose(1, 2).reshape(n, t, TEXT_DIM)
        hidden = self.attended_norm(hidden + self.attended(mixed))
        output: Tensor = self.output_norm(hidden + self.narrow(functional.gelu(self.wide(hidden))))
        return output


_RENAMED = {  # the checkpoint's names -> ours
    "attention.self.": "",
    "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "output_norm",
    "encoder.layer": "layers",
}


class TextTower(nn.Module):
    """all-MiniLM-L6-v2: six BERT layers, mean over the real tokens, unit length."""

    def __init__(self) -> None:
        """Read the verified weights.

        Raises:
            BackendUnavailableError: when the tower is not installed or not the expected file.
        """
        super().__init__()
        self.embeddings = _Embeddings()
        self.layers = nn.ModuleList(_Layer() for _ in range(_LAYERS))
        weights = {}
        for name, tensor in load_file(locate_tower("all-MiniLM-L6-v2") / "model.safetensors").items():
            if name.startswith("pooler.") or name.endswith("position_ids"):
                continue  # sentence embeddings use neither
            for theirs, ours in _RENAMED.items():
                name = name.replace(theirs, ours)
            weights[name] = tensor
        self.load_state_dict(weights)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens [n, t] to sentence embeddings [n, TEXT_DIM] of unit length."""
        mask = attention_mask.to(self.embeddings.word_embeddings.weight.dtype)
        penalty = (1 - mask)[:, None, None, :] * -1e9  # [n, 1, 1, t]
        hidden = self.embeddings(input_ids)
        for layer in self.layers:
            hidden = layer(hidden, penalty)
        pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return functional.normalize(pooled, dim=-1)
