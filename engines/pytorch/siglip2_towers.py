"""The towers of a NaFlex `Siglip2Model`: images of any aspect ratio as padded patches."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

_MASKED = -1e4  # the softmax makes zero of it, and unlike -inf it can be quantized


class Siglip2ImageTower(nn.Module):
    """The image half of a `Siglip2Model`, without the resizing of its table of position embeddings.

    That comes as weights from `engines.preparation.naflex`, so that images of several sizes share a batch.
    """

    def __init__(self, model: Any) -> None:
        """Take the image half out of a loaded model."""
        super().__init__()
        vision = model.vision_model
        self.patch_embedding = vision.embeddings.patch_embedding
        self.positions = vision.embeddings.position_embedding.weight  # [grid * grid, hidden]
        self.encoder, self.post_layernorm, self.head = vision.encoder, vision.post_layernorm, vision.head

    def forward(
        self, pixel_values: Tensor, pixel_attention_mask: Tensor, position_weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map patches [n, P, p * p * 3] to embeddings and last hidden states, those of padding zero."""
        embedded = self.patch_embedding(pixel_values) + position_weights @ self.positions
        mask = pixel_attention_mask.to(embedded.dtype)  # [n, P]
        masked = (1 - mask) * _MASKED
        hidden = self.encoder(inputs_embeds=embedded, attention_mask=masked[:, None, None, :])
        tokens = self.post_layernorm(hidden.last_hidden_state)
        return self._pool(tokens, masked), tokens * mask[:, :, None]

    def _pool(self, tokens: Tensor, masked: Tensor) -> Tensor:
        probe = self.head.probe.expand(tokens.shape[0], -1, -1)
        pooled, _ = self.head.attention(probe, tokens, tokens, key_padding_mask=masked, need_weights=False)
        pooled = pooled + self.head.mlp(self.head.layernorm(pooled))
        first: Tensor = pooled[:, 0]
        return first
