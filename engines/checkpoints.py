"""Find a SigLIP or CLIP checkpoint on disk and read its facts from its own files, without a runtime."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from engines.errors import InvalidInputError, UnknownModelError
from engines.models import ModelSpec

# transformers leaves values that equal the class default out of config.json; these are the
# defaults of SiglipConfig, CLIPConfig and their image processors (transformers 5).
_SIGLIP_TOKENS, _CLIP_TOKENS = 64, 77
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_DEFAULT_WIDTH = {"siglip": 768, "clip": 512}
_RESAMPLING: dict[int, Literal["bilinear", "bicubic", "lanczos"]] = {
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}


def find_checkpoint(name: str) -> Path:
    """Return the folder of a checkpoint: a local folder, or a hub id in the local hub cache.

    Asks no network. HF_HOME and HF_HUB_CACHE are honoured by huggingface_hub itself.

    Raises:
        UnknownModelError: when there is neither such a folder nor such a cached model.
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        raise UnknownModelError(
            f"No model {name!r}: it is no bundled model, no folder and not in the local Hugging Face cache."
        ) from None


def read_checkpoint_spec(folder: Path, name: str) -> ModelSpec:
    """Read the facts of a transformers `SiglipModel` or `CLIPModel` folder.

    Raises:
        InvalidInputError: when the folder is not such a checkpoint, saying what is missing or wrong.
    """
    config = _read_json(folder / "config.json")
    model_type = config.get("model_type")
    if model_type not in ("siglip", "clip"):
        raise InvalidInputError(
            f"{folder} holds a model of type {model_type!r}; only 'siglip' and 'clip' can be loaded."
        )
    siglip = model_type == "siglip"
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    scale, bias = _read_logit_parameters(folder)
    width = _DEFAULT_WIDTH[model_type]
    dim = vision.get("hidden_size", width) if siglip else config.get("projection_dim", width)
    return ModelSpec(
        name=name,
        family="siglip" if siglip else "clip",
        folder=folder,
        dim=dim,
        score="sigmoid" if siglip else "softmax",
        logit_scale=math.exp(scale),
        logit_bias=bias,
        **_image_facts(folder, siglip, default_size=vision.get("image_size", 224)),
        context_length=text.get("max_position_embeddings", _SIGLIP_TOKENS if siglip else _CLIP_TOKENS),
        text_cleaning=_text_cleaning(folder) if siglip else "none",
        pad_to_context=siglip,
        prompt_templates=("This is a photo of {label}.",) if siglip else ("a photo of a {label}.",),
    )


def _image_facts(folder: Path, siglip: bool, default_size: int) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    config = _read_json(path if path.exists() else folder / "processor_config.json")
    config = config.get("image_processor", config)  # transformers 5 nests it in processor_config.json
    if not siglip:
        _check_clip_crop(path, config)
    size = config.get("size") if siglip else config.get("crop_size", config.get("size"))
    resample = config.get("resample", 3)
    if resample not in _RESAMPLING:
        raise InvalidInputError(
            f"{path} asks for resampling {resample}; known are {sorted(_RESAMPLING)} (PIL's)."
        )
    return {
        "image_size": _side(size, default_size),
        "resize_mode": "squash" if siglip else "crop",
        "resample": _RESAMPLING[resample],
        "image_mean": tuple(config.get("image_mean") or ((0.5,) * 3 if siglip else _CLIP_MEAN)),
        "image_std": tuple(config.get("image_std") or ((0.5,) * 3 if siglip else _CLIP_STD)),
    }


def _check_clip_crop(path: Path, config: dict[str, Any]) -> None:
    """Refuse what CLIP's resize to the short side and centre crop of the same size would get wrong."""
    size, crop_size = config.get("size", 224), config.get("crop_size", config.get("size", 224))
    if not config.get("do_center_crop", True) or _side(size, 224) != _side(crop_size, 224):
        raise InvalidInputError(
            f"{path} asks for size {size} and crop {crop_size}; only a centre crop of that size is known."
        )


def _side(size: Any, default: int) -> int:
    """Return the side in pixels from one of the notations in preprocessor files."""
    if isinstance(size, dict):
        size = size.get("height", size.get("shortest_edge"))
    return int(size) if size else default


def _text_cleaning(folder: Path) -> Literal["lower", "canonicalize"]:
    """Tell SigLIP's cleaning (lower case, no punctuation) from SigLIP 2's (lower case alone).

    big_vision trained SigLIP 2 with `lower(key="text")|tok(...)` and SigLIP with canonicalized text;
    the published SigLIP 2 checkpoints carry a Gemma tokenizer under the model type 'siglip'.
    """
    path = folder / "tokenizer_config.json"
    kind = _read_json(path).get("tokenizer_class", "") if path.exists() else ""
    return "lower" if kind.startswith(("Gemma", "Siglip2")) else "canonicalize"


def _read_logit_parameters(folder: Path) -> tuple[float, float]:
    """Return (logit_scale before the exponential, logit_bias) from the safetensors files."""
    import ml_dtypes  # noqa: F401  teaches numpy bfloat16, which safetensors then can read
    from safetensors import SafetensorError, safe_open

    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise InvalidInputError(
            f"{folder} has no *.safetensors file; weights in other formats must be converted first."
        )
    found: dict[str, float] = {}
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as tensors:
                for key in {"logit_scale", "logit_bias"} & set(tensors.keys()):
                    found[key] = float(tensors.get_tensor(key).reshape(-1)[0])
        except SafetensorError as error:
            raise InvalidInputError(f"{path} is not a whole safetensors file ({error}).") from None
    if "logit_scale" not in found:
        raise InvalidInputError(f"{folder} has no tensor 'logit_scale'; it is not a dual encoder.")
    return found["logit_scale"], found.get("logit_bias", 0.0)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidInputError(f"{path.parent} has no {path.name}; it is not a whole checkpoint.") from None
    except ValueError as error:
        raise InvalidInputError(f"{path} is not valid JSON ({error}).") from None
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path} must hold a JSON object.")
    return content
