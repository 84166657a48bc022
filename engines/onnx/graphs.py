"""What the files of an ONNX artifact, their inputs and outputs, and the quantized engines are called."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

Method: TypeAlias = Literal["dynamic", "qdq", "qoperator", "4bit"]

IMAGE_GRAPH = "image.onnx"  # engines.preparation.inputs.image_inputs -> EMBEDDINGS, PATCHES
TEXT_GRAPH = "text.onnx"  # engines.preparation.inputs.text_inputs -> EMBEDDINGS
EMBEDDINGS = "embeddings"  # [n, dim], before normalisation
PATCHES = "patches"  # [n, tokens, hidden], the last hidden states
OPSET = 20  # the first with a Gelu operator, which MiniLM uses
REPORT = "report.json"  # what the builder of a quantized artifact chose, and why
BLOCKS = "blocks.json"  # what each block loses when it alone is quantized

METHODS: Mapping[str, Method] = MappingProxyType(  # how each quantized engine is made
    {
        "onnx-int8-dynamic": "dynamic",
        "onnx-int8-static-qdq": "qdq",
        "onnx-int8-static-qoperator": "qoperator",
        "onnx-int4": "4bit",
    }
)
