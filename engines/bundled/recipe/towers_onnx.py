"""Run the locked towers fast: the image tower through ONNX Runtime, the text tower in torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engines.bundled.model import IMAGE_SIZE, ImageTower
from engines.bundled.text_tower import TextTower
from engines.bundled.towers import locate_tower

CONTEXT_LENGTH = 64  # tokens; captions and prompts are far shorter
_TEXT_BATCH = 64


class ImageFeaturizer:
    """Maps normalised pixels to the image tower's features and class logits."""

    def __init__(self, work_dir: Path, num_threads: int) -> None:
        """Export the tower once; batch normalisation is folded by the runtime, which halves the time."""
        path = work_dir / "image_tower.onnx"
        if not path.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter's own deprecation notes
                torch.onnx.export(
                    ImageTower().eval(),
                    (torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE),),
                    str(path),
                    input_names=["pixels"],
                    output_names=["features", "class_logits"],
                    dynamic_axes={"pixels": {0: "n"}},
                    dynamo=False,
                )
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map [n, 3, H, W] to features [n, FEATURE_DIM] and class logits [n, NUM_CLASSES]."""
        features, logits = self._session.run(None, {"pixels": pixels})
        return features, logits


class SentenceEmbedder:
    """Maps texts to sentence embeddings and remembers them."""

    def __init__(self) -> None:
        """Load the tokenizer and the text tower."""
        self._tokenizer = Tokenizer.from_file(str(locate_tower("all-MiniLM-L6-v2") / "tokenizer.json"))
        self._tokenizer.enable_truncation(CONTEXT_LENGTH)
        self._tokenizer.enable_padding()
        self._tower = TextTower().eval()
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Map texts to rows [n, TEXT_DIM] of unit length, in order."""
        new = sorted({text for text in texts if text not in self._known}, key=lambda text: (len(text), text))
        for start in range(0, len(new), _TEXT_BATCH):  # texts of one length share a batch
            self._remember(new[start : start + _TEXT_BATCH])
        return torch.stack([self._known[text] for text in texts])

    @torch.no_grad()
    def _remember(self, texts: list[str]) -> None:
        tokens = self._tokenizer.encode_batch(texts)
        ids = torch.tensor([encoding.ids for encoding in tokens])
        mask = torch.tensor([encoding.attention_mask for encoding in tokens])
        self._known.update(zip(texts, self._tower(ids, mask), strict=True))
