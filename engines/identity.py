"""What tells an engine's embeddings from those of other models, engines and versions of this project."""

from __future__ import annotations

import hashlib
import json

from engines.artifacts.store import code_sha256, installed_versions
from engines.checkpoints.find import fingerprint
from engines.machine.cpu import read_cpu
from engines.models import ModelSpec

_CODE = ("preparation", "onnx", "pytorch", "bnb", "bundled")
_PACKAGES = (
    *("numpy", "onnxruntime", "pillow", "tokenizers", "torch", "transformers", "open_clip_torch", "timm"),
    *("sentencepiece", "onnx", "onnxscript", "bitsandbytes"),  # tokens, and what engines are built with
)


def engine_identity(spec: ModelSpec, engine: str) -> str:
    """Return a name that changes with whatever may change an embedding; for keys of caches."""
    facts = {
        "model": fingerprint(spec),
        "instructions": sorted(read_cpu().instructions),  # they decide kernels, and those the rounding
        "code_sha256": code_sha256(*_CODE),
        "versions": installed_versions(*_PACKAGES),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return f"{spec.name}/{engine}/{digest}"
