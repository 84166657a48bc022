"""Pictures and sentences that quantization is calibrated on, and others that it is judged by.

Static int8 quantization fixes the range of every activation from sample inputs. Ranges that come from
narrow samples clip whatever is unlike them, and a model that is judged by the samples it was calibrated on
hides that. So there are two splits, each with photographs, drawings, print and sentences of every length:
`calibration_set()` sets the ranges, `held_out_set()` is for the gate that compares quantized with fp32
embeddings.

The splits share no picture, no sentence and no collection that pictures come from: calibration takes from
GCompris, Noto Emoji and a page drawn for it, held-out from scikit-image, scikit-learn, Getty Open Content,
budgie-backgrounds, lomiri-wallpapers and Fluent Emoji.

The pictures, their credits and the sentence that describes each are in `engines.gallery`; `calibration.json`
has the further sentences. Where the gallery shows a picture larger than its set uses it, `images/` has the
set's version under the same name: a set's bytes must not change, as artifacts and records name their digest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from engines.gallery import gallery
from engines.preparation.images import decode_image

CALIBRATION_DIR = Path(__file__).parent

_NOISE_KINDS = 4
_EXTREMES = (
    (0, 0, 0),
    (255, 255, 255),
)  # the ends of the pixel range, which few photographs reach everywhere


@dataclass(frozen=True)
class SampleSet:
    """One split: image files, and sentences.

    Attributes:
        images: the files, in a fixed order.
        captions: first one that describes each image, in the order of the images, then further ones.
    """

    images: tuple[Path, ...]
    captions: tuple[str, ...]

    def load_images(self) -> list[Image.Image]:
        """Decode every image to RGB, the way requests are decoded, so that preprocessing sees the same."""
        return [decode_image(path) for path in self.images]

    @cached_property
    def sha256(self) -> str:
        """Digest of the files and the captions in order; an artifact names it to say what it came from."""
        digest = hashlib.sha256(f"{len(self.images)} images\n".encode())
        parts = [path.read_bytes() for path in self.images] + [text.encode() for text in self.captions]
        for part in parts:
            digest.update(len(part).to_bytes(8, "big"))  # so that no bytes can move between the parts
            digest.update(part)
        return digest.hexdigest()


@cache
def calibration_set() -> SampleSet:
    """Return the split that sets quantization ranges."""
    return _read_split("calibration")


@cache
def held_out_set() -> SampleSet:
    """Return the split that judges a quantized model; nothing may be calibrated or tuned on it."""
    return _read_split("held_out")


def noise_images(count: int, side: int, seed: int = 0) -> list[Image.Image]:
    """Draw square images that no camera makes, to widen the ranges that calibration sees.

    Requests are not all photographs: noise, blank pages and ramps drive some channels further than any
    picture does, and a range fixed without them clips. The kinds take turns: uniform noise, smoothed noise,
    one flat colour, a gradient between two colours. The same arguments give the same pixels, and a larger
    `count` only appends.
    """
    return [_noise_image(index, side, np.random.default_rng((seed, index))) for index in range(count)]


def _read_split(split: Literal["calibration", "held_out"]) -> SampleSet:
    pictures = [picture for picture in gallery() if picture.split == split]
    further = json.loads((CALIBRATION_DIR / "calibration.json").read_text("utf-8"))[split]
    return SampleSet(
        images=tuple(_sample_file(picture.path) for picture in pictures),
        captions=(*(picture.caption for picture in pictures), *further),
    )


def _sample_file(shown: Path) -> Path:
    smaller = CALIBRATION_DIR / "images" / shown.name
    return smaller if smaller.exists() else shown


def _noise_image(index: int, side: int, rng: np.random.Generator) -> Image.Image:
    turn, kind = divmod(index, _NOISE_KINDS)
    if kind == 0:
        return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    if kind == 1:
        cells = 2 ** (1 + turn % 6)  # coarse blobs first, then finer
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        return coarse.resize((side, side), Image.Resampling.BICUBIC)
    colours = rng.integers(0, 256, (2, 3))
    if kind == 2:
        red, green, blue = _EXTREMES[turn] if turn < len(_EXTREMES) else colours[0].tolist()
        return Image.new("RGB", (side, side), (red, green, blue))
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:side, 0:side]
    ramp = rows * np.sin(angle) + columns * np.cos(angle)
    ramp = (ramp - ramp.min()) / max(np.ptp(ramp), 1e-12)
    pixels = colours[0] + ramp[..., None] * (colours[1] - colours[0])
    return Image.fromarray(pixels.round().astype(np.uint8))
