"""Read a checkpoint folder's JSON files and find its weights, without a runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import InvalidInputError

OPEN_CLIP_CONFIG = "open_clip_config.json"
TOKENIZERS = ("spiece.model", "tokenizer.json")  # in the order in which they are taken
IMAGE_PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # likewise
PICKLES = {"transformers": "pytorch_model*.bin", "open_clip": "open_clip_pytorch_model.bin"}


class Weights(NamedTuple):
    """The files that hold a model's weights, and what they say about its scores."""

    pickled: bool  # torch's own format
    logit_scale: float  # before the exponential
    logit_bias: float


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        InvalidInputError: when there is no such file or no object in it.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidInputError(f"{path.parent} has no {path.name}; it is not a whole checkpoint.") from None
    except ValueError as error:
        raise InvalidInputError(f"{path} is not valid JSON ({error}).") from None
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path} must hold a JSON object.")
    return content


def safetensors_files(folder: Path, library: str) -> list[Path]:
    """Return the weight files for a library, "transformers" or "open_clip"; a folder may hold both's."""
    files = sorted(folder.glob("*.safetensors"))
    return [path for path in files if path.name.startswith("open_clip") == (library == "open_clip")]


def has_weights(folder: Path, library: str) -> bool:
    """Tell whether a folder holds all the weight files of a library, in any format."""
    index = folder / "model.safetensors.index.json"
    if library == "transformers" and index.exists():
        shards = set(read_json(index).get("weight_map", {}).values())
        return all((folder / shard).exists() for shard in shards)
    return bool(safetensors_files(folder, library) or [*folder.glob(PICKLES[library])])


def is_whole(folder: Path, library: str) -> bool:
    """Tell whether a folder holds every file that a library's model needs, whatever is in them.

    A hub cache may hold a part: who loads one tower of a model leaves its configuration and its weights.
    """
    has_tokenizer = any((folder / name).exists() for name in TOKENIZERS)
    if library == "open_clip":
        config = folder / OPEN_CLIP_CONFIG
        text = (read_json(config).get("model_cfg") or {}).get("text_cfg") or {} if config.exists() else None
        is_described = text is not None and (has_tokenizer or not text.get("hf_tokenizer_name"))
    else:
        has_processor = any((folder / name).exists() for name in IMAGE_PROCESSORS)
        is_described = (folder / "config.json").exists() and has_processor and has_tokenizer
    return is_described and has_weights(folder, library)


def read_weights(folder: Path, library: str, allow_pickled: bool) -> Weights:
    """Find a model's weights and read the scale and the bias of its logits from them.

    Torch's own format is a pickle. It is read as tensors alone (`weights_only=True`), which should
    be safe; but only for who asks for it, because that guard has had holes (CVE-2025-32434).

    Raises:
        InvalidInputError: when there are no weights, damaged ones, or a pickle that was not asked for.
    """
    if paths := safetensors_files(folder, library):
        found, pickled = _scalars_of_safetensors(paths), False
    elif paths := sorted(folder.glob(PICKLES[library])):
        if not allow_pickled:
            raise InvalidInputError(
                f"{folder} has no *.safetensors file, only {paths[0].name}, a pickle; if you trust where it"
                " comes from, set SIGLIP_ALLOW_PICKLED_WEIGHTS=true."
            )
        found, pickled = _scalars_of_pickles(paths), True
    else:
        raise InvalidInputError(f"{folder} has no *.safetensors file; it has no weights to load.")
    if "logit_scale" not in found:
        raise InvalidInputError(f"{folder} has no tensor 'logit_scale'; it is not a dual encoder.")
    return Weights(pickled, found["logit_scale"], found.get("logit_bias", 0.0))


def read_pickle(path: Path) -> dict[str, Any]:
    """Return the tensors of a file in torch's own format; nothing else in it is unpickled.

    Raises:
        InvalidInputError: when the file is damaged or holds more than tensors.
    """
    import pickle

    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0]
        raise InvalidInputError(f"{path} is not a whole file of tensors ({reason}).") from None
    tensors: dict[str, Any] = content.get("state_dict", content)
    return tensors


def _scalars_of_safetensors(paths: list[Path]) -> dict[str, float]:
    import ml_dtypes  # noqa: F401  teaches numpy bfloat16, which safetensors then can read
    from safetensors import SafetensorError, safe_open

    found: dict[str, float] = {}
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as tensors:
                for key in {"logit_scale", "logit_bias"} & set(tensors.keys()):
                    found[key] = float(tensors.get_tensor(key).reshape(-1)[0])
        except SafetensorError as error:
            raise InvalidInputError(f"{path} is not a whole safetensors file ({error}).") from None
    return found


def _scalars_of_pickles(paths: list[Path]) -> dict[str, float]:
    found: dict[str, float] = {}
    for path in paths:
        tensors = read_pickle(path)
        for key in {"logit_scale", "logit_bias"} & set(tensors):
            found[key] = float(tensors[key].reshape(-1)[0])
    return found
