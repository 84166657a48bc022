"""Find which blocks of a tower lose accuracy when they are quantized, and leave the fewest in float."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from engines.base import normalize
from engines.onnx.files import save_graph
from engines.onnx.graphs import EMBEDDINGS
from engines.onnx.quantize import weight_nodes
from engines.preparation.inputs import Inputs

Quantize: TypeAlias = Callable[[Collection[str]], onnx.ModelProto]  # names of nodes -> quantized graph

_NUMBERED = re.compile(r"^(.*\.\d+)(?:\.|/)")  # up to the last number in the module's path


@dataclass(frozen=True, slots=True)
class Loss:
    """What quantizing some nodes does to a tower's embeddings."""

    snr_db: float  # signal to noise of the embeddings before normalisation
    cosine_mean: float
    cosine_min: float
    top1_agreement: float  # share of items whose nearest item of the other tower stays the same


@dataclass(frozen=True, slots=True)
class BlockLoss:
    """What quantizing one block alone does."""

    block: str
    loss: Loss


@dataclass(frozen=True, slots=True)
class MixedPrecision:
    """A quantized graph that holds its gate, and what had to stay in float for it."""

    model: onnx.ModelProto
    loss: Loss
    float_blocks: tuple[str, ...]
    block_losses: tuple[BlockLoss, ...]  # worst first; empty when nothing had to stay in float


def block_of(node: str) -> str:
    """Return the block of a node that the exporter named after its module.

    "vision_model.encoder.layers.3.mlp.fc1/MatMul_52" belongs to "vision_model.encoder.layers.3".
    """
    if numbered := _NUMBERED.match(node):
        return numbered.group(1)
    return ".".join(node.split("/")[0].split(".")[:2]) or "top"


def group_blocks(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return the names of the nodes with constant weights by block, in the order they run."""
    blocks: dict[str, list[str]] = {}
    for node in weight_nodes(model):
        blocks.setdefault(block_of(node.name), []).append(node.name)
    return blocks


class Judge:
    """Compares a tower's embeddings of some items with those of its float graph."""

    def __init__(self, model: onnx.ModelProto, items: Sequence[Inputs], others: NDArray[np.float32]) -> None:
        """Run the float graph.

        Args:
            model: the float graph.
            items: inputs of it, one item each.
            others: embeddings [m, dim] by the other tower, among which each item has a nearest.
        """
        self._items = items
        self._others = normalize(others)
        self._reference = run_graph(model, items)

    def loss(self, model: onnx.ModelProto) -> Loss:
        """Run a quantized graph and return what it lost."""
        rows, reference = run_graph(model, self._items), self._reference
        noise, signal = float(np.square(rows - reference).sum()), float(np.square(reference).sum())
        rows, reference = normalize(rows), normalize(reference)
        cosines = (rows * reference).sum(axis=1)
        same = (rows @ self._others.T).argmax(axis=1) == (reference @ self._others.T).argmax(axis=1)
        snr_db = 10 * np.log10(signal / noise) if noise else np.inf
        return Loss(float(snr_db), float(cosines.mean()), float(cosines.min()), float(same.mean()))


def measure_block_losses(model: onnx.ModelProto, quantize: Quantize, judge: Judge) -> list[BlockLoss]:
    """Quantize one block at a time and return what each costs, the worst first."""
    losses = [BlockLoss(block, judge.loss(quantize(nodes))) for block, nodes in group_blocks(model).items()]
    return sorted(losses, key=lambda entry: entry.loss.cosine_mean)


def quantize_to_cosine(
    model: onnx.ModelProto, quantize: Quantize, judge: Judge, min_cosine: float
) -> MixedPrecision:
    """Quantize everything, or all but the fewest blocks without which the mean cosine is not reached.

    Blocks are taken back in the order of what they cost alone, all of them if it must be: some small
    text towers bear no 8-bit activations at all, and a tower in float beside a quantized one still serves.
    """
    blocks = group_blocks(model)

    def attempt(in_float: Sequence[str], losses: Sequence[BlockLoss]) -> MixedPrecision:
        nodes = [name for block, names in blocks.items() if block not in in_float for name in names]
        quantized = quantize(nodes)
        return MixedPrecision(quantized, judge.loss(quantized), tuple(in_float), tuple(losses))

    full = attempt((), ())
    if full.loss.cosine_mean >= min_cosine:
        return full
    losses = measure_block_losses(model, quantize, judge)
    order = [entry.block for entry in losses]
    best = attempt(order, losses)
    too_few, enough = 0, len(order)
    while enough - too_few > 1:  # more blocks in float lose less: search by halves
        count = (too_few + enough) // 2
        mixed = attempt(order[:count], losses)
        if mixed.loss.cosine_mean >= min_cosine:
            best, enough = mixed, count
        else:
            too_few = count
    return best


def run_graph(model: onnx.ModelProto, items: Sequence[Inputs]) -> NDArray[np.float32]:
    """Return the embeddings [n, dim] of items, one at a time, before normalisation."""
    with TemporaryDirectory(prefix="siglip-run-") as folder:
        path = Path(folder) / "graph.onnx"
        save_graph(model, path)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        rows: NDArray[np.float32] = np.vstack([session.run([EMBEDDINGS], item)[0] for item in items])
    return rows
