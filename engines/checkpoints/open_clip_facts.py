"""Read an open_clip checkpoint's facts from its open_clip_config.json, without open_clip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from engines.checkpoints.files import OPEN_CLIP_CONFIG, read_json, read_weights
from engines.errors import InvalidInputError
from engines.models import ModelSpec, TextCleaning

# open_clip leaves values that equal its defaults out of the file (open_clip_torch 3.3).
_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_CLEANINGS: Mapping[str, TextCleaning] = {
    "lower": "ftfy_lower",
    "whitespace": "ftfy_whitespace",
    "canonicalize": "ftfy_canonicalize",
}
_RESIZE_MODES: Mapping[str, Literal["squash", "torchvision_crop"]] = {
    "squash": "squash",
    "shortest": "torchvision_crop",
}


def read_open_clip_spec(folder: Path, name: str, allow_pickled: bool) -> ModelSpec:
    """Read the facts of a folder that open_clip would take as `local-dir:`.

    Raises:
        InvalidInputError: when files are missing, or the model needs what is not known here.
    """
    config = read_json(folder / OPEN_CLIP_CONFIG)
    model = config.get("model_cfg") or {}
    text, vision = model.get("text_cfg") or {}, model.get("vision_cfg") or {}
    _check_known(folder, model, text)
    weights = read_weights(folder, "open_clip", allow_pickled)
    sigmoid = model.get("init_logit_bias") is not None
    own_tokenizer = bool(text.get("hf_tokenizer_name"))
    return ModelSpec(
        name=name,
        family="open_clip",
        folder=folder,
        dim=model["embed_dim"],
        score="sigmoid" if sigmoid else "softmax",
        logit_scale=math.exp(weights.logit_scale),
        logit_bias=weights.logit_bias,
        **_image_facts(folder, vision, config.get("preprocess_cfg") or {}),
        context_length=text.get("context_length", 77),
        text_cleaning=_text_cleaning(text, "whitespace" if own_tokenizer else "lower"),
        pad_to_context=True,  # open_clip always pads, and not every text tower masks the padding
        prompt_templates=("This is a photo of {label}.",) if sigmoid else ("a photo of a {label}.",),
        tokenizer="files" if own_tokenizer else "clip_bpe",
        pickled_weights=weights.pickled,
    )


def _check_known(folder: Path, model: dict[str, Any], text: dict[str, Any]) -> None:
    problem = None
    if "embed_dim" not in model:
        problem = "names no model"
    elif "multimodal_cfg" in model:
        problem = "is of a captioning model"
    elif text.get("hf_model_name"):
        problem = f"takes its text tower from {text['hf_model_name']!r}"
    elif text.get("tokenizer_mode") or set(text.get("tokenizer_kwargs") or {}) - {"clean"}:
        problem = f"sets {text.get('tokenizer_mode') or text['tokenizer_kwargs']} for its tokenizer"
    elif (text.get("tokenizer_kwargs") or {}).get("clean", "lower") not in _CLEANINGS:
        problem = f"cleans texts by {text['tokenizer_kwargs']['clean']!r}"
    if problem:
        raise InvalidInputError(f"{folder / OPEN_CLIP_CONFIG} {problem}; such a model cannot be loaded.")


def _text_cleaning(text: dict[str, Any], default: str) -> TextCleaning:
    return _CLEANINGS[(text.get("tokenizer_kwargs") or {}).get("clean", default)]


def _image_facts(folder: Path, vision: dict[str, Any], preprocess: dict[str, Any]) -> dict[str, Any]:
    size = preprocess.get("size") or vision.get("image_size", 224)
    sides = set(size) if isinstance(size, list) else {size}
    mode = preprocess.get("resize_mode") or "shortest"
    if mode not in _RESIZE_MODES or len(sides) != 1:
        raise InvalidInputError(
            f"{folder / OPEN_CLIP_CONFIG} asks for images of size {size} by {mode!r}; known are square ones"
            f" by {' and '.join(map(repr, _RESIZE_MODES))}."
        )
    return {
        "image_size": sides.pop(),
        "resize_mode": _RESIZE_MODES[mode],
        "resample": "bilinear" if preprocess.get("interpolation") == "bilinear" else "bicubic",
        "image_mean": _three(preprocess.get("mean") or _OPENAI_MEAN),
        "image_std": _three(preprocess.get("std") or _OPENAI_STD),
    }


def _three(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * 3
