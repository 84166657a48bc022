"""onnx-fp32: the bundled models on ONNX Runtime, without torch in the process."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.artifacts import default_cache_dir, ensure_artifact
from engines.base import Embeddings, Pixels, Tokens, normalize, pad_tokens
from engines.errors import BackendUnavailableError, InferenceError
from engines.models import ModelSpec

IMAGE_GRAPH = "image.onnx"  # pixel_values [n, 3, image_size, image_size] -> embeddings [n, dim]
TEXT_GRAPH = "text.onnx"  # input_ids, attention_mask [n, length] -> embeddings [n, dim]
OPSET = 20  # the first with a Gelu operator, which MiniLM uses

_ENGINES_DIR = Path(__file__).parent
logger = logging.getLogger(__name__)


class OnnxEngine:
    """Runs exported graphs with ONNX Runtime's CPU execution provider, one session per tower."""

    name = "onnx-fp32"

    def __init__(self, spec: ModelSpec, *, cache_dir: Path | None = None, num_threads: int = 0) -> None:
        """Open both sessions, exporting the model first when that was never done on this machine.

        Args:
            spec: a bundled model.
            cache_dir: where exported graphs are kept.
            num_threads: threads per operator; 0 leaves it to ONNX Runtime, which takes one per physical core.

        Raises:
            BackendUnavailableError: when the export fails or its files cannot be used.
        """
        self.spec = spec
        folder = ensure_exported(spec, cache_dir or default_cache_dir())
        self._images = _open_session(folder / IMAGE_GRAPH, num_threads)
        self._texts = _open_session(folder / TEXT_GRAPH, num_threads)

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Embeddings:
        """Embed prepared images."""
        if not pixels:
            return np.empty((0, self.spec.dim), np.float32)
        return _run(self._images, {"pixel_values": np.stack(pixels)})

    def embed_tokens(self, tokens: Sequence[Tokens]) -> Embeddings:
        """Embed tokenized texts."""
        if not tokens:
            return np.empty((0, self.spec.dim), np.float32)
        ids, mask = pad_tokens(tokens, self.spec.context_length)
        return _run(self._texts, {"input_ids": ids, "attention_mask": mask})


def ensure_exported(spec: ModelSpec, cache_dir: Path) -> Path:
    """Return the folder with a bundled model's graphs, exporting them when they are missing.

    Raises:
        BackendUnavailableError: when the export fails or the cache folder cannot be written.
    """
    config = json.loads((spec.folder / "config.json").read_text("utf-8"))
    facts: dict[str, object] = {
        "model": spec.name,
        "heads_sha256": config["heads_sha256"],
        "tower_sha256": config["tower_sha256"],
        "image_size": spec.image_size,
        "code_sha256": _export_code_sha256(),
    }
    try:
        return ensure_artifact(
            cache_dir, f"{spec.name}-onnx-fp32", facts, lambda folder: _export(spec, folder)
        )
    except OSError as error:
        raise BackendUnavailableError(
            f"Cannot keep exported models in {cache_dir} ({error.strerror}); set SIGLIP_CACHE_DIR."
        ) from error


def _export_code_sha256() -> str:
    """Return a hash of the code that decides the graphs, so that a changed model is exported anew."""
    sources = ("onnx_export.py", "bundled/model.py", "bundled/text_tower.py")
    return hashlib.sha256(b"".join((_ENGINES_DIR / name).read_bytes() for name in sources)).hexdigest()


def _export(spec: ModelSpec, folder: Path) -> None:
    """Export in a fresh Python process, so that this one never imports torch."""
    logger.info("Exporting %s to ONNX; this happens once and takes about half a minute.", spec.name)
    command = [sys.executable, "-m", "engines.onnx_export", spec.name, str(folder.resolve())]
    done = subprocess.run(command, cwd=_ENGINES_DIR.parent, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise BackendUnavailableError(f"Exporting {spec.name} to ONNX failed: {reason}")


def _open_session(path: Path, num_threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors; the exporter's unused initializers are no news
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception classes share no public base
        raise BackendUnavailableError(
            f"Cannot open {path} ({error}); delete the folder {path.parent}, and it is made again."
        ) from error


def _run(session: ort.InferenceSession, inputs: dict[str, NDArray[np.generic]]) -> Embeddings:
    try:
        (rows,) = session.run(None, inputs)
    except Exception as error:  # ONNX Runtime's exception classes share no public base
        raise InferenceError(f"ONNX Runtime failed on a batch: {error}") from error
    return normalize(rows)
