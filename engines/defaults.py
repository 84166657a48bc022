"""Which engine a model gets when nobody chose one: the fastest here that has shown its accuracy here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from engines.machine.cpu import Cpu
from engines.models import ModelSpec
from engines.quality import GATE_8_BIT, read_quality

EXACT, FAST = "onnx-fp32", "onnx-int8-dynamic"
_INT8_INSTRUCTIONS = ("avx2", "arm_dotprod")  # without them int8 kernels are slower than float32 ones
_MEMORY_SHARE = 0.5  # of what this process may use; weights beyond it leave too little for everything else


class DefaultEngine(NamedTuple):
    """An engine, and one sentence that says why it is the default."""

    name: str
    why: str


def default_engine(spec: ModelSpec, cpu: Cpu, cache_dir: Path) -> DefaultEngine:
    """Choose the engine of a model for a machine; loads and builds nothing.

    The quantized engine becomes the default once it is built and has passed its quality gate on this
    machine, or at once where the float32 weights leave too little memory.
    """
    if spec.family == "bundled":
        return DefaultEngine(EXACT, "It is exact, and the bundled towers are small.")
    if not any(cpu.has(name) for name in _INT8_INSTRUCTIONS):
        return DefaultEngine(EXACT, "It is exact, and this processor has no fast 8-bit arithmetic.")
    quality = read_quality(spec, FAST, cache_dir)
    if quality and GATE_8_BIT.failures(quality):
        return DefaultEngine(EXACT, f"It is exact; {FAST} is faster here, but failed its quality gate.")
    if quality:
        return DefaultEngine(FAST, "It is the fastest here, and it passed its quality gate on this machine.")
    if _weights_bytes(spec.folder) > _MEMORY_SHARE * cpu.memory_bytes:
        return DefaultEngine(FAST, "The float32 weights leave too little of this machine's memory.")
    return DefaultEngine(
        EXACT,
        f"It is exact. {FAST} is faster here; it becomes the default once"
        f" `python -m app.cli.build {spec.name} --engine {FAST}` has shown that it is accurate.",
    )


def _weights_bytes(folder: Path) -> int:
    """Return the size of a checkpoint's weights on disk; half-precision ones double in memory."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
