"""ModelSpec: the facts about a model that no runtime may disagree on; the bundled models' facts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from engines.errors import UnknownModelError

Family: TypeAlias = Literal["bundled", "siglip", "siglip2", "clip", "open_clip"]
ResizeMode: TypeAlias = Literal["squash", "crop", "torchvision_crop", "pad", "crop_pad", "patches"]
TextCleaning: TypeAlias = Literal[
    "none", "lower", "canonicalize", "ftfy_whitespace", "ftfy_lower", "ftfy_canonicalize"
]
Resample: TypeAlias = Literal["bilinear", "bicubic", "lanczos"]

BUNDLED_DIR = Path(__file__).parent / "bundled"


@dataclass(frozen=True, slots=True, kw_only=True)
class NaFlex:
    """How a model takes images of any aspect ratio: as at most so many patches."""

    patch_size: int  # pixels, square
    max_num_patches: int
    position_grid: int  # rows and columns of the table of position embeddings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Facts about one dual encoder.

    logits = logit_scale * cosine + logit_bias; the sigmoid turns each logit into a probability of
    its own (SigLIP, arXiv 2303.15343 eq. 1), the softmax makes the labels compete (CLIP).
    """

    name: str
    family: Family
    folder: Path  # configuration, tokenizer and weights
    dim: int
    score: Literal["sigmoid", "softmax"]
    logit_scale: float  # the exponential is already taken
    logit_bias: float
    image_size: int  # pixels, square; of NaFlex models the size they were trained from
    resize_mode: ResizeMode
    resample: Resample
    image_mean: tuple[float, float, float]  # of pixels in [0, 1]
    image_std: tuple[float, float, float]
    context_length: int  # tokens, special tokens included
    text_cleaning: TextCleaning
    pad_to_context: bool  # SigLIP pools the last position, so its texts need the full length
    prompt_templates: tuple[str, ...]  # with "{label}"; embeddings of several are averaged
    tokenizer: Literal["files", "clip_bpe"] = "files"  # the folder's own, or open_clip's for CLIP
    pickled_weights: bool = False  # torch's own format, which somebody allowed
    naflex: NaFlex | None = None  # for resize_mode "patches"

    @property
    def slug(self) -> str:
        """Return a short form of the name that may stand in a file name; two models may share it."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name.rstrip("/")).strip("-.")[-60:] or "model"


@cache
def bundled_models() -> MappingProxyType[str, ModelSpec]:
    """Read the facts of the models that ship with the project, by name; SigLIP's kin comes first."""
    configs = [json.loads(path.read_text("utf-8")) for path in sorted(BUNDLED_DIR.glob("*/config.json"))]
    configs.sort(key=lambda config: (config["loss"] != "sigmoid", config["name"]))
    return MappingProxyType({config["name"]: _bundled_spec(config) for config in configs})


def get_bundled_model(name: str) -> ModelSpec:
    """Return the facts of one bundled model.

    Raises:
        UnknownModelError: when no bundled model has that name.
    """
    if name not in bundled_models():
        raise UnknownModelError(
            f"Unknown model {name!r}; the bundled models are {', '.join(bundled_models())}."
        )
    return bundled_models()[name]


def _bundled_spec(config: dict[str, Any]) -> ModelSpec:
    return ModelSpec(
        name=config["name"],
        family="bundled",
        folder=BUNDLED_DIR / config["name"],
        dim=config["dim"],
        score=config["loss"],
        logit_scale=config["logit_scale"],
        logit_bias=config["logit_bias"],
        image_size=config["image_size"],
        resize_mode=config["resize_mode"],
        resample=config["resample"],
        image_mean=tuple(config["image_mean"]),
        image_std=tuple(config["image_std"]),
        context_length=config["context_length"],
        text_cleaning="none",
        pad_to_context=False,
        prompt_templates=tuple(config["prompt_templates"]),
    )
