"""The towers of an open_clip model: its own ViT, or any image tower from timm."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from engines.errors import BackendUnavailableError, InvalidInputError
from engines.models import ModelSpec
from engines.pytorch.torchvision_ops import ensure_torchvision_operators


def load_open_clip_model(spec: ModelSpec) -> Any:
    """Load an open_clip checkpoint's whole model in float32; nothing is downloaded.

    Raises:
        BackendUnavailableError: when open_clip is not installed.
        InvalidInputError: when the weights are damaged or not those of the configuration.
    """
    open_clip = _import_open_clip()
    from safetensors import SafetensorError

    device = torch.get_default_device()  # "meta" where only the structure is wanted
    logging.getLogger().addFilter(_is_news)
    try:
        # It prefers the safetensors file, and reads a pickle as tensors alone.
        model = open_clip.create_model(
            f"local-dir:{spec.folder}",
            device=device,
            load_weights=device.type != "meta",
            pretrained_text=False,
            weights_only=True,
        )
    except (OSError, RuntimeError, ValueError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidInputError(f"Cannot load the checkpoint {str(spec.folder)!r}: {reason}") from error
    finally:
        logging.getLogger().removeFilter(_is_news)
    return model.float()


def _is_news(record: logging.LogRecord) -> bool:
    """Drop open_clip's warning that a model without weights, which was asked for, has none."""
    return "No pretrained weights loaded" not in record.getMessage()


def pretrained_hub_id(architecture: str, tag: str) -> str | None:
    """Return the repository that open_clip's own table names for a pair, such as "timm/ViT-B-16-SigLIP".

    Raises:
        BackendUnavailableError: when open_clip is not installed.
    """
    entry = _import_open_clip().get_pretrained_cfg(architecture, tag)
    return "/".join(entry.get("hf_hub", "").split("/")[:2]) or None


def _import_open_clip() -> Any:
    ensure_torchvision_operators()  # open_clip imports torchvision
    try:
        import open_clip
    except ImportError:
        raise BackendUnavailableError(
            "open_clip's checkpoints need the package open_clip_torch: pip install open_clip_torch."
        ) from None
    return open_clip


class OpenClipVitTower(nn.Module):
    """The image half of a model with open_clip's own vision transformer."""

    def __init__(self, visual: Any) -> None:
        """Take the image half of a loaded model."""
        super().__init__()
        self.visual = visual

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised pixels [n, 3, height, width] to embeddings and last hidden states.

        The hidden states start with the class token and come before the last normalisation, as in
        transformers' CLIP.
        """
        visual = self.visual
        hidden = visual.transformer(visual._embeds(pixel_values))
        pooled, _ = visual._pool(hidden)
        return pooled if visual.proj is None else pooled @ visual.proj, hidden


class OpenClipTimmTower(nn.Module):
    """The image half of a model with an image tower from timm, a transformer or a convolutional net."""

    def __init__(self, visual: Any) -> None:
        """Take the image half of a loaded model."""
        super().__init__()
        self.trunk, self.head = visual.trunk, visual.head

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised pixels to embeddings and the last feature map as hidden states, row by row."""
        features = self.trunk.forward_features(pixel_values)
        embeddings: Tensor = self.head(self.trunk.forward_head(features))
        if features.ndim == 4:
            channels_last = getattr(self.trunk, "output_fmt", "NCHW") == "NHWC"
            features = features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)
        return embeddings, features


class OpenClipTextTower(nn.Module):
    """The text half of an open_clip model; texts come padded to the context, as it pads them."""

    def __init__(self, model: Any) -> None:
        """Take a loaded model, whose image half somebody else has taken out."""
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map token ids [n, context] to embeddings; the model tells padding by its ids, if at all."""
        embeddings: Tensor = self.model.encode_text(input_ids)
        return embeddings


def split_open_clip_model(spec: ModelSpec) -> tuple[nn.Module, nn.Module]:
    """Load a checkpoint and return its image and its text tower, which share no weights.

    Raises:
        BackendUnavailableError: when open_clip is not installed.
        InvalidInputError: when the checkpoint is damaged or its image tower is of another kind.
    """
    model = load_open_clip_model(spec)
    towers = {"VisionTransformer": OpenClipVitTower, "TimmModel": OpenClipTimmTower}
    kind = type(model.visual).__name__
    if kind not in towers:
        raise InvalidInputError(
            f"{spec.name!r} has an image tower of the type {kind}; known are {' and '.join(towers)}."
        )
    # Its fused operator for inference has no counterpart in ONNX.
    torch.backends.mha.set_fastpath_enabled(False)
    image = towers[kind](model.visual)
    model.visual = nn.Identity()
    return image, OpenClipTextTower(model)
