"""What a profile tells: every engine's blocks beside the model's arithmetic and the machine's peak."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.onnx.graphs import METHODS
from engines.profiling.blocks import OTHER
from use_cases.latency import is_clean

# The engines whose linear layers multiply integers; the 4-bit and the bitsandbytes ones expand their weights.
INT8_ENGINES = (*(name for name, method in METHODS.items() if method != "4bit"), "torch-int8")
_INTEGERS = re.compile(r"Integer|Quantize|QLinear|QGemm|^quantized::")  # in the names of such operators


def disturbance(foreign_cores: float) -> str:
    """Return the warning of what other processes did meanwhile, nothing when they did little."""
    if is_clean(foreign_cores):
        return ""
    return f"Other processes kept {foreign_cores:.1f} cores busy meanwhile: distrust these times."


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePeak:
    """What this machine's arithmetic reaches, in 10^9 operations a second."""

    float32_gflops: float  # the best of a few large products
    library: str  # whose
    foreign_cores: float = 0.0  # of other processes meanwhile
    int8_gops: float | None = None  # ONNX Runtime's best product of 8-bit integers, where an engine has such
    int8_peak_gops: float | None = None  # of the instructions alone; None where it is not known, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a tower's call on one engine; None where it multiplies nothing that is counted."""

    ms: float  # a call, the median
    share: float  # of all such parts' time
    flop: int | None = None
    gflops: float | None = None  # reached
    float32_share: float | None = None  # of the machine's float32 peak
    int8_share: float | None = None  # of its int8 rate; None on an engine, or of an operator, of floats alone


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow(Part):
    """One block of a tower."""

    block: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow(Part):
    """All operators of one kind."""

    operator: str
    num_runs: int  # a call


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """Resident memory of a process along its life, in bytes, and what a call takes in the end."""

    arena: bool | None  # ONNX Runtime's switches; None for another runtime
    mem_pattern: bool | None
    import_bytes: int  # Python, this project, a prepared batch and the runtime's package
    load_bytes: int
    first_bytes: int  # after the first call
    steady_bytes: int  # after the last of many
    call_ms: float  # the median


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStages:
    """Shares of whole requests' time by stage, as a sampling profiler saw them; or why there are none."""

    num_requests: int = 0
    ms: float = 0.0  # a request
    shares: dict[str, float] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """One engine."""

    engine: str
    call_ms: float  # without the profiler, batch stacking and normalisation included
    foreign_cores: float  # of other processes meanwhile
    num_calls: int  # profiled
    profiled_ms: float  # a call of the tower under the profiler
    blocks: tuple[BlockRow, ...]
    total: BlockRow  # the blocks' sum; less than the median call where others disturbed now this, now that
    operators: tuple[OperatorRow, ...]  # the slowest first
    request: RequestStages
    memory: tuple[MemoryRow, ...]  # the last one is of the process that was profiled

    @property
    def named_share(self) -> float:
        """Return the share of the time that belongs to a block with a name."""
        return sum(row.share for row in self.blocks if row.block != OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One tower of one model on every engine that was asked for."""

    model: str
    tower: str
    batch_size: int
    num_threads: int
    peak: MachinePeak
    engines: tuple[EngineProfile, ...]

    def block_names(self) -> list[str]:
        """Return the blocks of all engines, in the order in which they run."""
        return in_order(row.block for engine in self.engines for row in engine.blocks)


def block_rows(
    block_ms: Mapping[str, float], flops: Mapping[str, int], peak: MachinePeak, engine: str
) -> tuple[tuple[BlockRow, ...], BlockRow]:
    """Join each block's time with its arithmetic; return the blocks, and all of them as one.

    Args:
        block_ms: the engine's blocks.
        flops: the model's blocks; their order is the tower's, which a runtime may change a little.
        peak: of the machine.
        engine: whose int8 share is told if it multiplies integers.
    """
    total_ms = sum(block_ms.values())

    def row(name: str, ms: float, flop: int) -> BlockRow:
        return BlockRow(block=name, **_facts(ms, total_ms, flop, peak, int8=engine in INT8_ENGINES))

    names = in_order([*flops, *block_ms])
    rows = (row(name, block_ms[name], flops.get(name, 0)) for name in names if name in block_ms)
    return tuple(rows), row("total", total_ms, sum(flops.values()))


def operator_rows(
    operators: Sequence[Mapping[str, Any]], num_flop: int, peak: MachinePeak
) -> tuple[OperatorRow, ...]:
    """Set each kind of operator beside the machine's peak.

    Args:
        operators: the fields of `OperatorTime`s. One of them alone may not tell its arithmetic: it did what
            the others did not.
        num_flop: of a call of the model.
        peak: of the machine.
    """
    total_ms = sum(row["ms"] for row in operators)
    silent = [row["operator"] for row in operators if row["flop"] is None]
    rest = num_flop - sum(row["flop"] or 0 for row in operators)
    rows = []
    for row in operators:
        flop = row["flop"] if row["flop"] is not None else rest if len(silent) == 1 else 0
        facts = _facts(row["ms"], total_ms, flop, peak, int8=bool(_INTEGERS.search(row["operator"])))
        rows.append(OperatorRow(operator=row["operator"], num_runs=row["num_runs"], **facts))
    return tuple(rows)


def _facts(ms: float, total_ms: float, flop: int, peak: MachinePeak, *, int8: bool) -> dict[str, Any]:
    """Return the fields of a `Part`."""
    gflops = flop / ms / 1e6 if flop > 0 and ms else None
    return {
        "ms": ms,
        "share": ms / total_ms if total_ms else 0.0,
        "flop": flop if flop > 0 else None,
        "gflops": gflops,
        "float32_share": gflops / peak.float32_gflops if gflops else None,
        "int8_share": gflops / peak.int8_gops if int8 and gflops and peak.int8_gops else None,
    }


def in_order(blocks: Iterable[str]) -> list[str]:
    """Return each name once, as they first come, but OTHER last."""
    names = dict.fromkeys(blocks)
    return [name for name in names if name != OTHER] + [OTHER] * (OTHER in names)
