"""torch-int8: linear layers in dynamic int8, the rest of the towers in float32.

Why PyTorch's own operator, called directly, and no library around it. SigLIP B/16-224 with random
weights, one image on two cores with AVX2, cosine to float32:

| way | image ms | cosine image / text | why not |
|---|---|---|---|
| float32 | 342-425 | 1 | |
| torch.ao quantize_dynamic | 214-225 | 0.9998 / 0.9992 | deprecated, warns |
| torch.ao ...dynamic.Linear.from_float | the same kernel | 0.9998 / 0.9992 | deprecated with it |
| torchao int8 weights and activations | first call 7.9 s | | compiles; eager is slower than float32 |
| torchao int8 weights alone | 454 | | slower than float32 |

The operator is that of quantize_dynamic. What it needs and PyTorch 2.13 warns of as well is a
quantized tensor to pack the weights from; requirements.txt bounds torch, and the contract suite runs
this engine, so that a PyTorch without them is noticed there.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from engines.models import ModelSpec
from engines.pytorch.engine import TorchEngine
from engines.pytorch.layers import replace_linear
from engines.pytorch.towers import load_towers

_KERNELS = ("x86", "fbgemm", "qnnpack")  # the best first; the last is ARM's


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale a row; the activations' scale is found at each call."""

    def __init__(self, layer: nn.Linear) -> None:
        """Quantize a float32 layer; the old weights are not kept."""
        super().__init__()
        weight = layer.weight.detach()
        scales = (weight.abs().amax(dim=1).double() / 127).clamp_min(1e-12)  # [rows]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)  # see the module
            zeros = torch.zeros(len(scales), dtype=torch.int64)
            quantized = torch.quantize_per_channel(weight, scales, zeros, axis=0, dtype=torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(quantized, layer.bias)
        # AVX2 adds pairs of products in 16 bits, which 8-bit activations overflow; QNNPACK does not.
        self.reduce_range = torch.backends.quantized.engine != "qnnpack"

    def forward(self, rows: Tensor) -> Tensor:
        """Map [..., in] to [..., out], both float32."""
        output: Tensor = torch.ops.quantized.linear_dynamic(rows, self.packed, self.reduce_range)
        return output


def load_torch_int8_engine(spec: ModelSpec, num_threads: int = 0) -> TorchEngine:
    """Load a model in float32 and quantize its linear layers.

    Raises:
        BackendUnavailableError: when a package that the model needs is missing.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    supported = torch.backends.quantized.supported_engines
    torch.backends.quantized.engine = next(name for name in _KERNELS if name in supported)
    towers = load_towers(spec)
    for tower in towers:
        replace_linear(tower, Int8Linear)
    return TorchEngine(spec, name="torch-int8", towers=towers, num_threads=num_threads)
