"""Plain transformers: the library's own model and processor in float32, as its documentation shows them.

Not an engine of this project but what its engines are measured against. Shares nothing with them: the
processor prepares, `get_image_features` and `get_text_features` embed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from engines.base import Embeddings, normalize
from engines.errors import InvalidInputError
from engines.models import ModelSpec
from engines.pytorch.torchvision_ops import ensure_torchvision_operators

_FAMILIES = ("siglip", "clip")  # whose processors make the one "pixel_values" that is measured here


class PlainTransformers:
    """A checkpoint as the transformers documentation loads it: AutoModel and AutoProcessor's two parts."""

    def __init__(self, spec: ModelSpec, num_threads: int) -> None:
        """Load the model.

        Raises:
            InvalidInputError: when the model is neither a SigLIP nor a CLIP checkpoint of transformers.
        """
        if spec.family not in _FAMILIES:
            raise InvalidInputError(
                f"{spec.name} cannot be run by plain transformers here; SigLIP and CLIP checkpoints can."
            )
        ensure_torchvision_operators()
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        torch.set_num_threads(num_threads)
        self.spec = spec
        self.model: Any = AutoModel.from_pretrained(spec.folder, dtype=torch.float32).eval()
        self.image_processor: Any = AutoImageProcessor.from_pretrained(spec.folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(spec.folder)
        # SigLIP was trained with padding to the full context, as its documentation says.
        self._padding = (
            {"padding": "max_length", "max_length": spec.context_length}
            if spec.pad_to_context
            else {"padding": True, "max_length": spec.context_length}
        )

    def prepare_images(self, images: Sequence[Image.Image]) -> Any:
        """Return the processor's tensors for images."""
        return self.image_processor(images=list(images), return_tensors="pt")

    def prepare_texts(self, texts: Sequence[str]) -> Any:
        """Return the tokenizer's tensors for texts."""
        return self.tokenizer(list(texts), truncation=True, return_tensors="pt", **self._padding)

    def embed_images(self, prepared: Any) -> Embeddings:
        """Embed what `prepare_images` returned."""
        with torch.inference_mode():
            return _rows(self.model.get_image_features(**prepared))

    def embed_texts(self, prepared: Any) -> Embeddings:
        """Embed what `prepare_texts` returned."""
        with torch.inference_mode():
            return _rows(self.model.get_text_features(**prepared))

    def zero_shot_pipeline(self) -> Any:
        """Return `pipeline("zero-shot-image-classification")` on this model.

        It pads SigLIP's texts to 64 tokens, whatever the model's context is.
        """
        from transformers import pipeline

        return pipeline(
            "zero-shot-image-classification",
            model=self.model,
            tokenizer=self.tokenizer,
            image_processor=self.image_processor,
        )


def image_tower_gflop(spec: ModelSpec) -> float | None:
    """Count the image tower's arithmetic for one image, multiplications and additions, without weights.

    None for a model that is not transformers' or takes images of any shape.
    """
    if spec.family not in _FAMILIES:
        return None
    ensure_torchvision_operators()
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModel

    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.inference_mode():
        model: Any = AutoModel.from_config(AutoConfig.from_pretrained(spec.folder)).eval()
        with counter:
            model.get_image_features(pixel_values=torch.empty(1, 3, spec.image_size, spec.image_size))
    return float(counter.get_total_flops()) / 1e9


def _rows(output: Any) -> Embeddings:
    rows = getattr(output, "pooler_output", output)  # transformers 5 returns an output object
    return normalize(rows.numpy())
