"""Read a SigLIP, SigLIP 2 or CLIP checkpoint's facts from its transformers files, without a runtime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from engines.checkpoints.files import IMAGE_PROCESSORS, read_json, read_weights
from engines.errors import InvalidInputError
from engines.models import Family, ModelSpec, NaFlex

# transformers leaves values that equal the class default out of config.json; these are the
# defaults of its configurations and image processors (transformers 5).
_DEFAULT_TOKENS: dict[Family, int] = {"siglip": 64, "siglip2": 64, "clip": 77}
_DEFAULT_WIDTH: dict[Family, int] = {"siglip": 768, "siglip2": 768, "clip": 512}
_DEFAULT_RESAMPLE: dict[Family, int] = {"siglip": 3, "siglip2": 2, "clip": 3}
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_RESAMPLING: dict[int, Literal["bilinear", "bicubic", "lanczos"]] = {
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}


def read_transformers_spec(folder: Path, name: str, allow_pickled: bool) -> ModelSpec:
    """Read the facts of a `SiglipModel`, `Siglip2Model` or `CLIPModel` folder.

    Raises:
        InvalidInputError: when the folder is not such a checkpoint, saying what is missing or wrong.
    """
    config = read_json(folder / "config.json")
    family = config.get("model_type")
    if family not in _DEFAULT_TOKENS:
        known = ", ".join(map(repr, _DEFAULT_TOKENS))
        raise InvalidInputError(
            f"{folder} holds a model of type {family!r}; known are {known} and open_clip's."
        )
    siglip = family != "clip"
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    weights = read_weights(folder, "transformers", allow_pickled)
    width = _DEFAULT_WIDTH[family]
    image = _image_config(folder)
    naflex = _naflex(image, vision) if family == "siglip2" else None
    size = naflex.position_grid * naflex.patch_size if naflex else vision.get("image_size", 224)
    return ModelSpec(
        name=name,
        family=family,
        folder=folder,
        dim=vision.get("hidden_size", width) if siglip else config.get("projection_dim", width),
        score="sigmoid" if siglip else "softmax",
        logit_scale=math.exp(weights.logit_scale),
        logit_bias=weights.logit_bias,
        **_image_facts(folder, family, image, default_size=size),
        context_length=text.get("max_position_embeddings", _DEFAULT_TOKENS[family]),
        text_cleaning=_text_cleaning(folder, family),
        pad_to_context=siglip,
        prompt_templates=("This is a photo of {label}.",) if siglip else ("a photo of a {label}.",),
        pickled_weights=weights.pickled,
        naflex=naflex,
    )


def _image_config(folder: Path) -> dict[str, Any]:
    own, shared = (folder / name for name in IMAGE_PROCESSORS)
    config = read_json(own if own.exists() else shared)
    # transformers 5 nests it in processor_config.json
    nested: dict[str, Any] = config.get("image_processor", config)
    return nested


def _image_facts(folder: Path, family: Family, config: dict[str, Any], default_size: int) -> dict[str, Any]:
    clip = family == "clip"
    if clip:
        _check_clip_crop(folder, config)
    size = config.get("crop_size", config.get("size")) if clip else config.get("size")
    resample = config.get("resample", _DEFAULT_RESAMPLE[family])
    if resample not in _RESAMPLING:
        raise InvalidInputError(
            f"The image processor of {folder} asks for resampling {resample}; known are"
            f" {sorted(_RESAMPLING)} (PIL's)."
        )
    modes = {"siglip": "squash", "siglip2": "patches", "clip": "crop"}
    return {
        "image_size": default_size if family == "siglip2" else _image_size(folder, size, default_size),
        "resize_mode": modes[family],
        "resample": _RESAMPLING[resample],
        "image_mean": tuple(config.get("image_mean") or (_CLIP_MEAN if clip else (0.5,) * 3)),
        "image_std": tuple(config.get("image_std") or (_CLIP_STD if clip else (0.5,) * 3)),
    }


def _naflex(image: dict[str, Any], vision: dict[str, Any]) -> NaFlex:
    return NaFlex(
        patch_size=image.get("patch_size", vision.get("patch_size", 16)),
        max_num_patches=image.get("max_num_patches", 256),
        position_grid=math.isqrt(vision.get("num_patches", 256)),
    )


def _check_clip_crop(folder: Path, config: dict[str, Any]) -> None:
    """Refuse what CLIP's resize to the short side and centre crop of the same size would get wrong."""
    size, crop_size = config.get("size", 224), config.get("crop_size", config.get("size", 224))
    sides = [_sides(folder, each) for each in (size, crop_size)]
    if not config.get("do_center_crop", True) or sides[0] != sides[1]:
        raise InvalidInputError(
            f"The image processor of {folder} asks for size {size} and crop {crop_size}; only a centre"
            " crop of that size is known."
        )


def _image_size(folder: Path, size: Any, own: int) -> int:
    """Return the side in pixels that the preprocessor brings images to, which must be the model's own."""
    if size and _sides(folder, size) != {own}:
        raise InvalidInputError(
            f"The image processor of {folder} makes images of size {size}, but the model takes {own} x {own}"
            " pixels."
        )
    return own


def _sides(folder: Path, size: Any) -> set[int]:
    """Return the sides in pixels from one of the notations in preprocessor files."""
    named = size if isinstance(size, dict) else {"shortest_edge": size}
    sides = {named[name] for name in ("height", "width", "shortest_edge") if name in named}
    if not sides or not all(isinstance(side, int) and side > 0 for side in sides):
        raise InvalidInputError(f"The image processor of {folder} asks for size {size!r}, which is no size.")
    return sides


def _text_cleaning(folder: Path, family: Family) -> Literal["none", "lower", "canonicalize"]:
    """Tell SigLIP's cleaning (lower case, no punctuation) from SigLIP 2's (lower case alone).

    big_vision trained SigLIP 2 with `lower(key="text")|tok(...)` and SigLIP with canonicalized text;
    the published SigLIP 2 checkpoints of one image size carry a Gemma tokenizer under the model
    type 'siglip'.
    """
    if family == "clip":
        return "none"
    path = folder / "tokenizer_config.json"
    kind = read_json(path).get("tokenizer_class", "") if path.exists() else ""
    return "lower" if family == "siglip2" or kind.startswith(("Gemma", "Siglip2")) else "canonicalize"
