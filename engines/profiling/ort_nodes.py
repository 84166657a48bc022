"""Which module each node that ONNX Runtime executes came from, whatever the runtime made of the graph.

The exporter names nodes after their modules, but the runtime fuses nodes, lays convolutions out anew and
inserts casts, all under names of its own, such as "SkipLayerNormalization_token_5" or "hardtanh_33_nchwc".
Tensors keep their names better than nodes do: what a fused node puts out is the output of the last of those
that it was made of, and the file that was opened still tells which node made that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from onnx import ModelProto, NodeProto

from engines.models import Family
from engines.profiling.blocks import block_of

_FUSED = re.compile(r"^fused ")  # what the runtime may put before the name of what it made of several nodes
_REWRITTEN = re.compile(
    r"_nchwc(?:_token_\d+)?$"
)  # and behind the name of a tensor, to name its new producer
_NO_MODULE = re.compile(r"^_empty_nn_module_stack")  # the exporter's own word for nodes that it added


def module_of_name(name: str) -> str | None:
    """Return the path of the module that a node was exported from, None when the name does not say.

    "vision_model.encoder.layers.3.mlp.fc1/MatMul_52" came from "vision_model.encoder.layers.3.mlp.fc1", and
    what quantizers and the runtime make of it mostly keeps the beginning.
    """
    module, slash, _ = _FUSED.sub("", name).partition("/")
    return module if slash and not _NO_MODULE.match(module) else None


def find_modules(opened: ModelProto, executed: ModelProto, family: Family) -> dict[str, str]:
    """Return the modules of executed nodes by the nodes' names; the few without one are left out.

    Args:
        opened: the graph of the file; weights are not needed.
        executed: what the runtime made of it, as it saves it.
        family: the model's, which tells modules of one block from those of several.
    """
    origins = _Origins(opened, family)
    readers = {name: node for node in reversed(executed.graph.node) for name in node.input}  # the first ones
    modules: dict[str, str] = {}
    for node in reversed(executed.graph.node):  # readers come behind
        module = origins.module(node)
        if module is None:  # a cast, a quantization, a shape: it works for who reads it
            reader = next((readers[name] for name in node.output if name in readers), None)
            module = modules.get(reader.name) if reader else None
        if module is not None:
            modules[node.name] = module
    return modules


class _Origins:
    """Finds the modules of nodes by the graph that was opened."""

    def __init__(self, opened: ModelProto, family: Family) -> None:
        self._producers = {name: node for node in opened.graph.node for name in node.output}
        self._family = family

    def module(self, node: NodeProto) -> str | None:
        own = module_of_name(node.name)
        return own if own is not None else next(self._of_outputs(node), None)

    def _of_outputs(self, node: NodeProto) -> Iterator[str]:
        for name in (*node.output, _REWRITTEN.sub("", node.name)):
            found = self._of_producer(name) if name in self._producers else module_of_name(name)
            if found is not None:
                yield found

    def _of_producer(self, name: str) -> str | None:
        """Return the module that made a tensor, or made what it was made of.

        A fused convolution puts out what its activation did, and the activation's module may be one that
        several blocks share.
        """
        first = None
        while producer := self._producers.get(name):
            module = module_of_name(producer.name)
            if module is None or not producer.input:
                break
            first = module if first is None else first
            if block_of(module, self._family) is not None:
                return module
            name = producer.input[0]
        return first
