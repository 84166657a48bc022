"""Make the graphs of a quantized ONNX engine from the exported float32 ones.

Run as `python -m engines.onnx.build [--blocks] MODEL ENGINE SOURCE FOLDER` in a process of its own:
quantizing needs memory for several copies of the weights, and packages that serving does not.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.artifacts.builders import builder_main, say_progress
from engines.calibration import calibration_set, noise_images
from engines.errors import BackendUnavailableError
from engines.factory import resolve_for_builder
from engines.machine.cpu import read_cpu
from engines.models import ModelSpec
from engines.onnx.files import copy_graph, load_graph, save_graph
from engines.onnx.graphs import BLOCKS, IMAGE_GRAPH, METHODS, REPORT, TEXT_GRAPH, Method
from engines.onnx.operators import check_operators, executed_operators, is_quantized
from engines.onnx.quantize import Ranges, quantize_dynamically, quantize_statically, weight_nodes
from engines.onnx.ranges import measure_ranges
from engines.onnx.sensitivity import (
    BlockLoss,
    Judge,
    Loss,
    MixedPrecision,
    Quantize,
    measure_block_losses,
    quantize_to_cosine,
    run_graph,
)
from engines.onnx.weights import quantize_products, quantize_token_table
from engines.preparation.inputs import Inputs, image_inputs, text_inputs
from engines.preparation.preprocess import Preprocessor

TOWERS = MappingProxyType({IMAGE_GRAPH: "image", TEXT_GRAPH: "text"})
# Of the items that blocks are chosen by. Above the quality gate's for 8 bits, so that nearest neighbours
# stay, too; at the gate's for 4 bits, where what stays in float costs eight times the size.
_MIN_COSINE, _MIN_COSINE_4_BIT = 0.998, 0.97
_SELECT_EVERY = 4  # of the calibration items, one is kept aside to choose ranges and blocks by
_NUM_NOISE = 8  # images; without them static ranges clip what is no photograph


def build_quantized(spec: ModelSpec, engine: str, source: Path, folder: Path) -> None:
    """Write a quantized engine's graphs and a report of what was chosen into a folder.

    Args:
        spec: the model.
        engine: a key of METHODS.
        source: folder of the exported float32 graphs.
        folder: an empty folder.

    Raises:
        BackendUnavailableError: when ONNX Runtime would not run the operators that were written, or neither
            tower can be quantized.
    """
    report, any_quantized = {}, False
    for graph, tower in tower_quantizers(spec, METHODS[engine], source).items():
        say_progress(f"Quantizing {spec.name} to {engine}: {graph} ...")
        mixed, rule = tower.choose()
        save_graph(mixed.model, folder / graph)
        operators = executed_operators(folder / graph, tower.items[0])
        if is_quantized(mixed.model):
            check_operators(engine, METHODS[engine], operators)
            any_quantized = True
        report[TOWERS[graph]] = {
            "ranges": rule,
            "selection_loss": _loss_facts(mixed.loss),
            "float_blocks": mixed.float_blocks,
            "executed_operators": operators,
        }
    if not any_quantized:
        raise BackendUnavailableError(
            f"{spec.name} cannot be quantized to {engine}: both towers would have to stay in float32. Choose"
            " another engine."
        )
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def measure_blocks(spec: ModelSpec, engine: str, source: Path, folder: Path) -> None:
    """Write what each block of each tower loses when it alone is quantized; arguments as above."""
    losses = {}
    for graph, tower in tower_quantizers(spec, METHODS[engine], source).items():
        say_progress(f"Quantizing {spec.name} block by block: {graph} ...")
        losses[TOWERS[graph]] = [
            {"block": entry.block, "loss": _loss_facts(entry.loss)} for entry in tower.block_losses()
        ]
    (folder / BLOCKS).write_text(json.dumps(losses, indent=2) + "\n", "utf-8")


def _loss_facts(loss: Loss) -> dict[str, float | None]:
    """Return the figures, an infinite ratio as None, because JSON has no infinity."""
    return {**asdict(loss), "snr_db": loss.snr_db if math.isfinite(loss.snr_db) else None}


def tower_quantizers(spec: ModelSpec, method: Method, source: Path) -> dict[str, TowerQuantizer]:
    """Return what quantizes each tower, by graph; each is judged against the other's float embeddings."""
    graphs = {graph: load_graph(source / graph) for graph in (IMAGE_GRAPH, TEXT_GRAPH)}
    items = _tower_items(spec)
    rows = {graph: run_graph(graphs[graph], items[graph]) for graph in graphs}
    return {
        graph: TowerQuantizer(graphs[graph], method, items[graph], rows[other])
        for graph, other in ((IMAGE_GRAPH, TEXT_GRAPH), (TEXT_GRAPH, IMAGE_GRAPH))
    }


def _tower_items(spec: ModelSpec) -> dict[str, list[Inputs]]:
    """Return the calibration set, prepared for a model, as inputs of one item each by graph."""
    preprocessor, samples = Preprocessor(spec), calibration_set()
    images = [*samples.load_images(), *noise_images(_NUM_NOISE, spec.image_size)]
    return {
        IMAGE_GRAPH: [image_inputs(spec, [preprocessor.prepare_image(image)]) for image in images],
        TEXT_GRAPH: [text_inputs(spec, [preprocessor.prepare_text(text)]) for text in samples.captions],
    }


class TowerQuantizer:
    """Quantizes one tower by one method, and chooses the rule for ranges and the blocks to leave in float.

    Where ranges are measured, the choice is made on items that they were not measured on.
    """

    def __init__(
        self, model: onnx.ModelProto, method: Method, items: Sequence[Inputs], others: NDArray[np.float32]
    ) -> None:
        """Run the float graph.

        Args:
            model: the float graph.
            method: how to quantize it.
            items: inputs of it, one item each.
            others: embeddings [m, dim] by the other tower.
        """
        self.items = items
        self._model = model
        self._method = method
        self._has_ranges = method in ("qdq", "qoperator")
        self._judge = Judge(model, items[::_SELECT_EVERY], others)
        self._reduce_range = not read_cpu().has_int8_dot_product

    def choose(self) -> tuple[MixedPrecision, str | None]:
        """Return the graph to ship, and the rule for ranges that serves best (None without ranges)."""
        rule, quantize = self._best_rule()
        least = _MIN_COSINE_4_BIT if self._method == "4bit" else _MIN_COSINE
        return quantize_to_cosine(self._model, quantize, self._judge, least), rule

    def block_losses(self) -> list[BlockLoss]:
        """Return what each block costs when it alone is quantized, the worst first."""
        return measure_block_losses(self._model, self._best_rule()[1], self._judge)

    def _best_rule(self) -> tuple[str | None, Quantize]:
        """Return the rule for ranges with which full quantization loses least, and what applies it."""
        if not self._has_ranges:
            return None, self._without_ranges
        nodes = [node.name for node in weight_nodes(self._model)]
        calibrate = [item for index, item in enumerate(self.items) if index % _SELECT_EVERY]
        rules = {
            rule: self._with(ranges) for rule, ranges in measure_ranges(self._model, nodes, calibrate).items()
        }
        losses = {rule: self._judge.loss(quantize(nodes)) for rule, quantize in rules.items()}
        best = max(rules, key=lambda rule: losses[rule].cosine_mean)
        return best, rules[best]

    def _without_ranges(self, nodes: Collection[str]) -> onnx.ModelProto:
        if self._method == "dynamic":
            quantized = quantize_dynamically(self._model, nodes, reduce_range=self._reduce_range)
            quantize_token_table(quantized, bits=8)
            return quantized
        quantized = copy_graph(self._model)
        quantize_products(quantized, nodes)
        quantize_token_table(quantized, bits=4)
        return quantized

    def _with(self, ranges: Ranges) -> Quantize:
        form: Literal["qdq", "qoperator"] = "qdq" if self._method == "qdq" else "qoperator"

        def quantize(nodes: Collection[str]) -> onnx.ModelProto:
            quantized = quantize_statically(
                self._model, nodes, ranges, form=form, reduce_range=self._reduce_range
            )
            quantize_token_table(quantized, bits=8)
            return quantized

        return quantize


def main(arguments: Sequence[str]) -> int:
    """Run the builder that the arguments ask for; return its exit code."""
    build = measure_blocks if arguments[0] == "--blocks" else build_quantized
    model, engine, source, folder = arguments[-4:]
    return builder_main(lambda: build(resolve_for_builder(model), engine, Path(source), Path(folder)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
