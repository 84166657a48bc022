"""Both towers of any model as PyTorch modules, the same for inference, quantization and export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from engines.errors import InvalidInputError
from engines.models import Family, ModelSpec
from engines.pytorch.torchvision_ops import ensure_torchvision_operators

_MODEL_CLASSES = {"siglip": "SiglipModel", "siglip2": "Siglip2Model", "clip": "CLIPModel"}


class Towers(NamedTuple):
    """A model's towers in eval mode; their inputs are named as in `engines.preparation.inputs`."""

    image: nn.Module  # image inputs -> embeddings [n, dim], last hidden states [n, tokens, hidden]
    text: nn.Module  # input_ids, attention_mask [n, length] -> embeddings [n, dim]; rows need no unit length


def load_towers(spec: ModelSpec) -> Towers:
    """Load a model's weights in float32 on the CPU.

    Raises:
        BackendUnavailableError: when a package that the model needs is missing.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    towers = _LOADERS[spec.family](spec)
    return Towers(*(tower.eval().requires_grad_(False) for tower in towers))


def load_transformers_model(spec: ModelSpec, **options: Any) -> Any:
    """Load a transformers checkpoint's whole model; the options go to `from_pretrained`.

    Raises:
        InvalidInputError: when files are damaged or weights are missing.
    """
    ensure_torchvision_operators()  # transformers imports torchvision wherever it is installed
    import transformers

    model_class = getattr(transformers, _MODEL_CLASSES[spec.family])
    try:
        model, report = model_class.from_pretrained(
            spec.folder,
            dtype=torch.float32,
            use_safetensors=not spec.pickled_weights,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInputError(f"Cannot load the checkpoint {str(spec.folder)!r}: {error}") from error
    if missing := sorted(report["missing_keys"]):
        raise InvalidInputError(
            f"The checkpoint {str(spec.folder)!r} lacks {len(missing)} weights, {missing[0]} first."
        )
    return model


class TransformersImageTower(nn.Module):
    """The image half of a `SiglipModel` or `CLIPModel`; holds no weights of the text half."""

    def __init__(self, model: Any) -> None:
        """Take the image half out of a loaded model."""
        super().__init__()
        self.vision_model = model.vision_model
        self.projection = getattr(model, "visual_projection", nn.Identity())  # SigLIP has none

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised pixels [n, 3, height, width] to embeddings and last hidden states."""
        output = self.vision_model(pixel_values=pixel_values)
        return self.projection(output.pooler_output), output.last_hidden_state


class TransformersTextTower(nn.Module):
    """The text half of a `SiglipModel` or `CLIPModel`; holds no weights of the image half."""

    def __init__(self, model: Any, masked: bool) -> None:
        """Take the text half out of a loaded model.

        Args:
            model: the loaded model.
            masked: the model was trained with an attention mask; SigLIP was not, so that its padding
                takes part in attention.
        """
        super().__init__()
        self.text_model = model.text_model
        self.projection = getattr(model, "text_projection", nn.Identity())  # SigLIP has its own inside
        self.masked = masked

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map token ids and mask, both [n, length], to embeddings [n, dim]."""
        mask = {"attention_mask": attention_mask} if self.masked else {}
        embeddings: Tensor = self.projection(self.text_model(input_ids=input_ids, **mask).pooler_output)
        return embeddings


def uses_transformers(spec: ModelSpec) -> bool:
    """Tell whether `load_transformers_model` can load the model."""
    return spec.family in _MODEL_CLASSES


def split_model(spec: ModelSpec, model: Any) -> Towers:
    """Take the towers out of what `load_transformers_model` returned."""
    from engines.pytorch.siglip2_towers import Siglip2ImageTower

    image = Siglip2ImageTower(model) if spec.family == "siglip2" else TransformersImageTower(model)
    towers = image, TransformersTextTower(model, masked=spec.family == "clip")
    return Towers(*(tower.eval().requires_grad_(False) for tower in towers))


def _load_transformers(spec: ModelSpec) -> Towers:
    return split_model(spec, load_transformers_model(spec))


def _load_open_clip(spec: ModelSpec) -> Towers:
    from engines.pytorch.open_clip_towers import split_open_clip_model

    return Towers(*split_open_clip_model(spec))


class _BundledImageTower(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower, self.head = model.image_tower, model.image_head

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        features, class_logits, patches = self.tower.forward_with_patches(pixel_values)
        return self.head(features, class_logits), patches


class _BundledTextTower(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower, self.head = model.text_tower, model.text_head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        embeddings: Tensor = self.head(self.tower(input_ids, attention_mask))
        return embeddings


def _load_bundled(spec: ModelSpec) -> Towers:
    from engines.bundled.model import load_bundled_model

    model = load_bundled_model(spec.name)
    return Towers(_BundledImageTower(model), _BundledTextTower(model))


_LOADERS: Mapping[Family, Callable[[ModelSpec], Towers]] = MappingProxyType(
    {
        "bundled": _load_bundled,
        "siglip": _load_transformers,
        "siglip2": _load_transformers,
        "clip": _load_transformers,
        "open_clip": _load_open_clip,
    }
)
