"""Write checkpoints of published sizes with seeded random weights, for machines without a model hub.

Speed, memory and file sizes do not depend on the values of weights, so these checkpoints measure what
the published ones would. They know nothing: cosines between their embeddings rank numeric schemes at
most, and say nothing about accuracy. Run as `python -m engines.checkpoints.random_weights NAME FOLDER`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engines.artifacts.builders import builder_main, run_builder
from engines.artifacts.store import code_sha256, default_cache_dir, keep_artifact
from engines.checkpoints.random_tokenizers import save_clip_bpe, save_gemma_bpe, save_sentencepiece
from engines.errors import UnknownModelError

PREFIX = "random:"
SEED = 0
SIGLIP_LOGITS = (math.log(117.3), -12.9)  # close to those of google/siglip-base-patch16-224
CLIP_LOGIT_SCALE = math.log(100)  # where OpenAI's training ended


def write_siglip(
    folder: Path,
    *,
    vocab_size: int,
    text: dict[str, Any],
    vision: dict[str, Any],
    gemma: bool = False,
    logits: tuple[float, float] = SIGLIP_LOGITS,
) -> None:
    """Write a SigLIP checkpoint with random weights.

    Args:
        folder: is filled; exists.
        vocab_size: rows of the token table.
        text: further values of the text tower's configuration.
        vision: values of the image tower's configuration.
        gemma: give it SigLIP 2's tokenizer instead of SigLIP's.
        logits: the scale, before the exponential, and the bias.
    """
    torch, transformers = _runtime()
    ids = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0 if gemma else 1}
    config = transformers.SiglipConfig(
        text_config={"vocab_size": vocab_size} | ids | text, vision_config=vision
    )
    model = transformers.SiglipModel(config).eval()
    scale, bias = logits
    with torch.no_grad():
        model.logit_scale.fill_(scale)
        model.logit_bias.fill_(bias)
    model.save_pretrained(folder)
    save_tokenizer = save_gemma_bpe if gemma else save_sentencepiece
    save_tokenizer(folder, config.text_config.max_position_embeddings, vocab_size)
    side = config.vision_config.image_size
    transformers.SiglipImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)


def write_clip(
    folder: Path, *, vocab_size: int, text: dict[str, Any], vision: dict[str, Any], dim: int
) -> None:
    """Write a CLIP checkpoint with random weights; arguments as those of `write_siglip`, and dim."""
    torch, transformers = _runtime()
    ids = {"bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1, "pad_token_id": vocab_size - 1}
    config = transformers.CLIPConfig(
        text_config={"vocab_size": vocab_size} | ids | text, vision_config=vision, projection_dim=dim
    )
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        model.logit_scale.fill_(CLIP_LOGIT_SCALE)
    model.save_pretrained(folder)
    save_clip_bpe(folder, config.text_config.max_position_embeddings, vocab_size)
    side = config.vision_config.image_size
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)


def _write_siglip_base(folder: Path) -> None:
    write_siglip(folder, vocab_size=32_000, text={}, vision={})  # the classes' defaults are base-patch16-224


def _write_siglip2_base(folder: Path) -> None:
    write_siglip(folder, vocab_size=256_000, text={}, vision={}, gemma=True)


def _write_clip_base(folder: Path) -> None:
    write_clip(folder, vocab_size=49_408, text={}, vision={}, dim=512)  # and these patch32's


RANDOM_CHECKPOINTS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {
        "siglip-base-patch16-224": _write_siglip_base,
        "siglip2-base-patch16-224": _write_siglip2_base,
        "clip-vit-base-patch32": _write_clip_base,
    }
)


def write_random_checkpoint(name: str, folder: Path) -> None:
    """Write one of RANDOM_CHECKPOINTS into a folder, which is made; torch is imported here.

    Raises:
        UnknownModelError: when there is no recipe of that name.
    """
    _check_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    RANDOM_CHECKPOINTS[name](folder)


def ensure_random_checkpoint(name: str, cache_dir: Path | None = None) -> Path:
    """Return the folder of a checkpoint in the artifact cache, writing it in another process when missing.

    Raises:
        UnknownModelError: when there is no recipe of that name.
        BackendUnavailableError: when a package is missing or the folder cannot be written.
    """
    _check_name(name)
    facts: dict[str, object] = {
        "name": name,
        "seed": SEED,
        "code_sha256": code_sha256("checkpoints/random_weights.py", "checkpoints/random_tokenizers.py"),
    }

    def build(folder: Path) -> None:
        run_builder("engines.checkpoints.random_weights", name, str(folder.resolve()))

    return keep_artifact(cache_dir or default_cache_dir(), f"random-{name}", facts, build)


def _check_name(name: str) -> None:
    if name not in RANDOM_CHECKPOINTS:
        raise UnknownModelError(f"No random checkpoint {name!r}; there are {', '.join(RANDOM_CHECKPOINTS)}.")


def _runtime() -> tuple[Any, Any]:
    """Import torch and transformers with the seed set, so that any process can know the names."""
    import torch

    from engines.pytorch.torchvision_ops import ensure_torchvision_operators

    ensure_torchvision_operators()
    import transformers

    torch.manual_seed(SEED)
    return torch, transformers


if __name__ == "__main__":
    raise SystemExit(builder_main(lambda: write_random_checkpoint(sys.argv[1], Path(sys.argv[2]))))
