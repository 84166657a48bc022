"""What a record keeps of each image, so that others can compute intervals of their own from it.

Everything is a NumPy `.npz` archive (zip with deflate) in base64, read by `np.load(io.BytesIO(
base64.b64decode(text)))`. Images are in the order of the SHA-256 of their files, in all of a record's rows.

- `image_ids`, once a record: `ids` [n_images, 4], the first bytes of each file's SHA-256.
- `items` of a zero-shot row: `truth` [n_images, n_labels / 8], the right labels as bits (`np.packbits`, by
  image), `num_labels`; `top` [n_images, 5], positions of the best labels, best first; `ranks` [n_images],
  of the best right label among the wrong ones: 1 is right, up to 5 is in the top 5; `order`
  [n_labels with images, n_images], each label's ranking of the images, from 0 and with equal numbers for
  equal scores: only where an image may have several labels, for mean average precision, and only up to
  `MAX_VALUES` values.
- `items` of a calibration row: `brier` and `nll` [n_images]; `edges` [n_bins + 1] of the bins of equal width
  and `numbers`, `probabilities`, `right` [n_images, n_bins], how many predictions are in each, the sum of
  their probabilities, how many came true; the same of the bins of equal mass with `mass_` before the name.
  Empty where the bins have more than `MAX_VALUES` values.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from use_cases.labelled.calibration_metrics import Bins, Predictions
from use_cases.labelled.metrics import Judged

MAX_VALUES = 100_000  # values; they hardly compress, and a record should stay readable
_ID_BYTES = 4


def pack_ids(digests: Sequence[str]) -> str:
    """Return which images a record is about."""
    ids = np.frombuffer(b"".join(bytes.fromhex(digest)[:_ID_BYTES] for digest in digests), np.uint8)
    return pack(ids=ids.reshape(-1, _ID_BYTES))


def pack_judged(judged: Judged) -> str:
    """Return a zero-shot row's items."""
    arrays = {
        "truth": np.packbits(judged.truth, axis=1),
        "num_labels": np.array(judged.truth.shape[1]),
        "top": smallest(judged.top),
        "ranks": smallest(judged.ranks),
    }
    if judged.order is not None and judged.order.size <= MAX_VALUES:
        arrays["order"] = smallest(judged.order)
    return pack(**arrays)


def unpack_judged(items: str) -> Judged:
    """Return what `pack_judged` packed; without mean average precision where it left the order out."""
    arrays = unpack(items)
    truth = np.unpackbits(arrays["truth"], axis=1, count=int(arrays["num_labels"])).astype(bool)
    order = arrays["order"].astype(np.int64) if "order" in arrays else None
    return Judged(truth, arrays["top"].astype(np.int64), arrays["ranks"].astype(np.int64), order)


def pack_predictions(predictions: Predictions) -> str:
    """Return a calibration row's items, in float32; nothing of a large dataset."""
    if predictions.equal_width.numbers.size > MAX_VALUES:
        return ""
    arrays: dict[str, NDArray[Any]] = {
        "brier": predictions.brier.astype(np.float32),
        "nll": predictions.nll.astype(np.float32),
    }
    for prefix, bins in (("", predictions.equal_width), ("mass_", predictions.equal_mass)):
        arrays |= {
            f"{prefix}edges": bins.edges,
            f"{prefix}numbers": smallest(bins.numbers),
            f"{prefix}probabilities": bins.probabilities.astype(np.float32),
            f"{prefix}right": smallest(bins.right),
        }
    return pack(**arrays)


def unpack_predictions(items: str) -> Predictions:
    """Return what `pack_predictions` packed."""
    arrays = {name: array.astype(np.float64) for name, array in unpack(items).items()}

    def bins(prefix: str) -> Bins:
        return Bins(*(arrays[prefix + name] for name in ("edges", "numbers", "probabilities", "right")))

    return Predictions(bins(""), bins("mass_"), arrays["brier"], arrays["nll"])


def smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers from 0 on in as few bytes as they need."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def pack(**arrays: NDArray[Any]) -> str:
    """Return arrays as text."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes a flag for an array
    return base64.b64encode(file.getvalue()).decode("ascii")


def unpack(items: str) -> dict[str, NDArray[Any]]:
    """Return the arrays that `pack` packed, by name."""
    with np.load(io.BytesIO(base64.b64decode(items))) as arrays:
        return {name: arrays[name] for name in arrays.files}
