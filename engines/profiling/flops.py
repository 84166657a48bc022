"""Count a tower's arithmetic by block: a fact of the model, the same for every engine that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engines.models import Family, ModelSpec
from engines.preparation.inputs import Inputs
from engines.profiling.blocks import Place, Tower, name_blocks
from engines.profiling.torch_modules import watch_modules
from engines.pytorch.towers import load_towers

_PRODUCT = "MatMul"  # stands for whatever was counted


def count_flops(spec: ModelSpec, tower: Tower, inputs: Inputs) -> dict[str, int]:
    """Return the floating-point operations of one call of a model's float32 tower, by block.

    Args:
        spec: the model.
        tower: which of its towers.
        inputs: of the call, as the tower takes them.

    Raises:
        BackendUnavailableError: when a package that the model needs is missing.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    module: nn.Module = getattr(load_towers(spec), tower)
    return count_module_flops(module, spec.family, [torch.from_numpy(array) for array in inputs.values()])


def count_module_flops(tower: nn.Module, family: Family, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Return the operations of one call by block, in the order in which the blocks run.

    A multiplication and its addition are two operations. Products and convolutions are counted, as
    PyTorch's counter does; a block without them, such as a norm, has none.
    """
    counter = FlopCounterMode(display=False)
    meter = _Meter(counter.get_total_flops)
    # The counter knows no fused attention of CPUs; the plain one is made of products, which it knows.
    with (
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
        watch_modules(tower, family, meter.enter, meter.leave),
        counter,
    ):
        tower(*inputs)
    flops: dict[str, int] = {}
    for block, count in zip(name_blocks(meter.places, family), meter.counts, strict=True):
        flops[block] = flops.get(block, 0) + count
    return flops


class _Meter:
    """Reads a counter when a module begins or ends: what was added belongs to the one that was running."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.places: list[Place] = []
        self.counts: list[int] = []
        self._read = read
        self._last = 0
        self._running: list[str] = []

    def enter(self, path: str) -> None:
        self._settle()
        self._running.append(path)

    def leave(self, path: str) -> None:
        self._settle()
        self._running.pop()

    def _settle(self) -> None:
        if not self._running:
            return
        total = self._read()
        self.places.append(Place(self._running[-1], _PRODUCT if total > self._last else ""))
        self.counts.append(total - self._last)
        self._last = total
