"""Write what ships: each model's heads and configuration."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from engines.bundled.model import BUNDLED_DIR, IMAGE_SIZE
from engines.bundled.recipe.compose import MEAN, PHOTO_MODE, RESAMPLE, STD
from engines.bundled.recipe.evaluate import PROMPTS
from engines.bundled.recipe.towers_onnx import CONTEXT_LENGTH
from engines.bundled.recipe.train import Heads, Loss
from engines.bundled.text_tower import TEXT_DIM
from engines.bundled.towers import TOWERS, file_sha256

MODEL_NAMES: dict[Loss, str] = {"sigmoid": "siglit-mini", "softmax": "lit-mini"}


def write_model(loss: Loss, heads: Heads) -> Path:
    """Write heads.safetensors (half precision) and config.json; return the model's folder."""
    folder = BUNDLED_DIR / MODEL_NAMES[loss]
    folder.mkdir(exist_ok=True)
    tensors = {f"image.{name}": tensor for name, tensor in heads.image.state_dict().items()}
    tensors |= {f"text.{name}": tensor for name, tensor in heads.text.state_dict().items()}
    path = folder / "heads.safetensors"
    save_file({name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(0o644)  # safetensors writes files that only their owner can read
    config = {
        "name": MODEL_NAMES[loss],
        "loss": loss,
        "dim": TEXT_DIM,
        "image_size": IMAGE_SIZE,
        "resize_mode": PHOTO_MODE,
        "resample": RESAMPLE,
        "image_mean": [MEAN / 255] * 3,
        "image_std": [STD / 255] * 3,
        "context_length": CONTEXT_LENGTH,
        "prompt_templates": list(PROMPTS),
        "logit_scale": round(heads.logit_scale, 4),
        "logit_bias": round(heads.logit_bias, 4) if loss == "sigmoid" else 0.0,
        "license": "Apache-2.0",
        "image_tower": "efficientnet-lite0 + efficientnet-lite2",
        "text_tower": "all-MiniLM-L6-v2",
        "heads_sha256": file_sha256(path),
        "tower_sha256": {file: sha256 for tower in TOWERS.values() for file, sha256 in tower.sha256.items()},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return folder
