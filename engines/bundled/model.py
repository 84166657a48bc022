"""BundledModel in torch: pretrained towers that stay locked, and the two heads the recipe trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from engines.bundled.text_tower import TEXT_DIM, TextTower
from engines.bundled.towers import file_sha256, locate_tower
from engines.errors import BackendUnavailableError, UnknownModelError

BUNDLED_DIR = Path(__file__).parent
IMAGE_TOWERS = ("efficientnet-lite0", "efficientnet-lite2")
IMAGE_SIZE = 260  # pixels; lite2's own size, and lite0 gains from it too
NUM_CLASSES = 1000  # ImageNet-1k, the towers' own classifier
STAGE_ENDS = {  # block index -> it ends a stage; earlier stages see shape where the last one sees texture
    "efficientnet-lite0": (7, 10, 14, 15),  # 80 + 112 + 192 + 320 channels
    "efficientnet-lite2": (10, 14, 19, 20),  # 88 + 120 + 208 + 352 channels
}
FEATURE_DIM = 2 * 1280 + (80 + 112 + 192 + 320) + (88 + 120 + 208 + 352)


class ImageTower(nn.Module):
    """Both EfficientNet-Lites as one tower: pooled features and the mean of their class logits."""

    def __init__(self) -> None:
        """Read the verified weights; nothing is downloaded and nothing is unpickled beyond tensors."""
        super().__init__()
        self.nets = nn.ModuleList()
        for name in IMAGE_TOWERS:
            net = EfficientNet.from_name(name, image_size=IMAGE_SIZE)
            net.load_state_dict(torch.load(locate_tower(name), map_location="cpu", weights_only=True))
            self.nets.append(net)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Map [n, 3, H, W] to features [n, FEATURE_DIM] and class logits [n, NUM_CLASSES]."""
        features, logits, _ = self.forward_with_patches(pixel_values)
        return features, logits

    def forward_with_patches(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `forward` does and both nets' last maps as patches [n, tokens, 2 * 1280]."""
        tops, maps, stages, logits = [], [], [], []
        nets: list[Any] = list(self.nets)  # EfficientNet brings no types
        for name, net in zip(IMAGE_TOWERS, nets, strict=True):
            hidden = net._swish(net._bn0(net._conv_stem(pixel_values)))
            for index, block in enumerate(net._blocks):
                hidden = block(hidden)
                if index in STAGE_ENDS[name]:
                    stages.append(hidden.mean((2, 3)))
            last = net._swish(net._bn1(net._conv_head(hidden)))  # [n, 1280, height, width]
            maps.append(last.flatten(2).transpose(1, 2))
            tops.append(last.mean((2, 3)))
            logits.append(net._fc(tops[-1]))
        return torch.cat(tops + stages, dim=1), (logits[0] + logits[1]) / 2, torch.cat(maps, dim=2)

    def classifiers(self) -> list[nn.Linear]:
        """Return each net's ImageNet classifier, in the order of the features."""
        nets: list[Any] = list(self.nets)
        return [net._fc for net in nets]


def _start_at_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class ImageHead(nn.Module):
    """Places an image in the text space: a class table that knows ImageNet, corrected by an MLP."""

    def __init__(self, hidden: int, dropout: float = 0.0) -> None:
        """Start as the class table alone: the MLP's last layer is zero."""
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(FEATURE_DIM))
        self.register_buffer("std", torch.ones(FEATURE_DIM))
        self.table = nn.Parameter(torch.zeros(NUM_CLASSES, TEXT_DIM))
        self.sharpness = nn.Parameter(torch.ones(()))  # inverse temperature of the class probabilities
        self.hidden = nn.Linear(FEATURE_DIM, hidden)
        self.out = nn.Linear(hidden, TEXT_DIM)
        self.dropout = nn.Dropout(dropout)
        _start_at_zero(self.out)

    def forward(self, features: Tensor, class_logits: Tensor) -> Tensor:
        """Map features [n, FEATURE_DIM] and class logits to rows [n, TEXT_DIM] of unit length."""
        known = torch.softmax(self.sharpness * class_logits, dim=-1) @ self.table
        scaled = (features - self.mean) / self.std
        learned = self.out(self.dropout(functional.gelu(self.hidden(scaled))))
        return functional.normalize(known + learned, dim=-1)


class TextHead(nn.Module):
    """Keeps the sentence space and adds a small learned correction to it."""

    def __init__(self, hidden: int) -> None:
        """Start as the identity: the last layer is zero; hidden = 0 stays the identity."""
        super().__init__()
        self.mlp = None
        if hidden:
            last = _start_at_zero(nn.Linear(hidden, TEXT_DIM))
            self.mlp = nn.Sequential(nn.Linear(TEXT_DIM, hidden), nn.GELU(), last)

    def forward(self, sentence: Tensor) -> Tensor:
        """Map sentence embeddings [n, TEXT_DIM] to rows [n, TEXT_DIM] of unit length."""
        if self.mlp is None:
            return functional.normalize(sentence, dim=-1)
        return functional.normalize(sentence + self.mlp(sentence), dim=-1)


class BundledModel(nn.Module):
    """Towers and heads together; knows nothing of resizing, tokenizing, scale or bias."""

    def __init__(self, image_head: ImageHead, text_head: TextHead) -> None:
        """Take trained heads and read the locked towers."""
        super().__init__()
        self.image_tower = ImageTower()
        self.image_head = image_head
        self.text_tower = TextTower()
        self.text_head = text_head

    def embed_pixels(self, pixel_values: Tensor) -> Tensor:
        """Map normalised pixels [n, 3, H, W] to embeddings [n, TEXT_DIM] of unit length."""
        features, class_logits = self.image_tower(pixel_values)
        embeddings: Tensor = self.image_head(features, class_logits)
        return embeddings

    def embed_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens [n, t] to embeddings [n, TEXT_DIM] of unit length."""
        embeddings: Tensor = self.text_head(self.text_tower(input_ids, attention_mask))
        return embeddings


def load_heads(path: Path) -> tuple[ImageHead, TextHead]:
    """Build both heads from a safetensors file; its half-precision numbers become float32."""
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    image_head = ImageHead(tensors["image.hidden.weight"].shape[0])
    text_weight = tensors.get("text.mlp.0.weight")
    text_head = TextHead(0 if text_weight is None else text_weight.shape[0])
    for prefix, head in (("image.", image_head), ("text.", text_head)):
        head.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    return image_head, text_head


def load_bundled_model(name: str) -> BundledModel:
    """Load one of the bundled models on the CPU, in float32 and eval mode.

    Raises:
        UnknownModelError: when no bundled model has that name.
        BackendUnavailableError: when a tower is not installed, or a file is not the one that was shipped.
    """
    known = sorted(path.parent.name for path in BUNDLED_DIR.glob("*/config.json"))
    if name not in known:
        raise UnknownModelError(f"Unknown bundled model {name!r}; known: {', '.join(known)}.")
    config = json.loads((BUNDLED_DIR / name / "config.json").read_text("utf-8"))
    path = BUNDLED_DIR / name / "heads.safetensors"
    if not path.is_file() or file_sha256(path) != config["heads_sha256"]:
        raise BackendUnavailableError(
            f"The heads of {name} are missing or damaged; restore {path.name} from the project."
        )
    model = BundledModel(*load_heads(path))
    return model.eval().requires_grad_(False)
