"""The models on the Hugging Face hub that are known to load, as data, and which of them is the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engines.checkpoints.files import is_whole, safetensors_files
from engines.checkpoints.hub import HubModel, find_cached
from engines.models import bundled_models


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model on the hub; everything else is read from its own files."""

    name: str  # as users write it: a hub id, or open_clip's "name/pretrained"
    loss: Literal["sigmoid", "softmax"]
    size_mb: int  # of the download, about
    hub_id: str = ""  # where it differs from the name

    @property
    def hub(self) -> HubModel:
        """Return where on the hub it is."""
        return HubModel(self.hub_id or self.name)

    @property
    def library(self) -> str:
        """Return whose weights it has, "transformers" or "open_clip"."""
        return "open_clip" if self.hub_id else "transformers"


# By loss, in the order in which a CPU should prefer them: what answers in a fraction of a second
# first, the most accurate of it leading; then the slow ones, up in size.
KNOWN_MODELS = (
    KnownModel("google/siglip2-base-patch16-256", "sigmoid", 1540),
    KnownModel("google/siglip2-base-patch16-224", "sigmoid", 1540),
    KnownModel("ViT-B-16-SigLIP2/webli", "sigmoid", 1540, "timm/ViT-B-16-SigLIP2"),
    KnownModel("google/siglip2-base-patch16-naflex", "sigmoid", 1540),
    KnownModel("google/siglip-base-patch16-256", "sigmoid", 815),
    KnownModel("google/siglip-base-patch16-224", "sigmoid", 815),
    KnownModel("ViT-B-16-SigLIP/webli", "sigmoid", 815, "timm/ViT-B-16-SigLIP"),
    KnownModel("google/siglip2-base-patch32-256", "sigmoid", 1550),
    KnownModel("google/siglip2-base-patch16-384", "sigmoid", 1540),
    KnownModel("google/siglip-base-patch16-384", "sigmoid", 815),
    KnownModel("google/siglip2-base-patch16-512", "sigmoid", 1550),
    KnownModel("google/siglip-base-patch16-512", "sigmoid", 815),
    KnownModel("google/siglip2-large-patch16-256", "sigmoid", 3530),
    KnownModel("google/siglip-large-patch16-256", "sigmoid", 2610),
    KnownModel("google/siglip2-so400m-patch14-224", "sigmoid", 4550),
    KnownModel("google/siglip2-so400m-patch16-naflex", "sigmoid", 4550),
    KnownModel("google/siglip-so400m-patch14-224", "sigmoid", 3510),
    KnownModel("google/siglip2-large-patch16-384", "sigmoid", 3530),
    KnownModel("google/siglip-large-patch16-384", "sigmoid", 2610),
    KnownModel("google/siglip2-so400m-patch14-384", "sigmoid", 4550),
    KnownModel("google/siglip-so400m-patch14-384", "sigmoid", 3510),
    KnownModel("google/siglip2-large-patch16-512", "sigmoid", 3530),
    KnownModel("MobileCLIP2-S0/dfndr2b", "softmax", 300, "timm/MobileCLIP2-S0-OpenCLIP"),
    KnownModel("ViT-B-16/laion2b_s34b_b88k", "softmax", 600, "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    KnownModel("openai/clip-vit-base-patch16", "softmax", 600),
    KnownModel("ViT-B-32/laion2b_s34b_b79k", "softmax", 605, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    KnownModel("openai/clip-vit-base-patch32", "softmax", 605),
    KnownModel("openai/clip-vit-large-patch14", "softmax", 1710),
    KnownModel("openai/clip-vit-large-patch14-336", "softmax", 1710),
)


def known_model(name: str) -> KnownModel | None:
    """Return the known model of that name, if there is one."""
    return next((model for model in KNOWN_MODELS if model.name == name), None)


def default_models() -> tuple[str, ...]:
    """Return a SigLIP and a CLIP that need no network: the best in the local hub cache, else the bundled."""
    bundled = {spec.score: name for name, spec in reversed([*bundled_models().items()])}
    cached: dict[str, str] = {}
    for model in KNOWN_MODELS:
        if model.loss not in cached and _is_cached(model):
            cached[model.loss] = model.name
    return tuple((bundled | cached)[loss] for loss in ("sigmoid", "softmax"))


def _is_cached(model: KnownModel) -> bool:
    folder = find_cached(model.hub)
    if folder is None or not is_whole(folder, model.library):
        return False
    return bool(safetensors_files(folder, model.library))  # not a pickle, which nobody asked for
