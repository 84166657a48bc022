"""A profile as tables for people."""

from __future__ import annotations

from collections.abc import Iterator

from use_cases.latency import is_clean
from use_cases.profiling.results import BlockRow, EngineProfile, MachinePeak, MemoryRow, Profile

_MB = 1e6
_NUM_OPERATORS = 12  # kinds in the table; the JSON has all
_WIDTH = 26  # of a name
_SWITCHES = (
    "arena: memory that an activation gave back is kept for the next one, never returned to the system;"
    "\npattern: activations of known shapes are planned into one piece. They are turned off by --no-ort-arena"
    "\nand --no-ort-mem-pattern."
)


def profile_tables(profile: Profile) -> str:
    """Return each engine's tables, then all engines side by side where there are several."""
    lines = [
        f"{profile.model}, {profile.tower} tower, batch {profile.batch_size}, {profile.num_threads} threads",
        _peak_line(profile.peak),
    ]
    for engine in profile.engines:
        lines += ["", *_engine_lines(engine)]
    if any(row.arena is not None for engine in profile.engines for row in engine.memory):
        lines += ["", _SWITCHES]
    if len(profile.engines) > 1:
        lines += ["", *_side_by_side(profile)]
    return "\n".join(lines)


def _peak_line(peak: MachinePeak) -> str:
    line = f"This machine's float32 products: {peak.float32_gflops:.0f} GFLOP/s ({peak.library})"
    if peak.int8_gops is not None:
        line += f"; 8-bit products: {peak.int8_gops:.0f} Gop/s (ONNX Runtime)"
    if peak.int8_peak_gops is not None:
        line += f", of {peak.int8_peak_gops:.0f} that the instructions allow"
    return line + _disturbance(peak.foreign_cores)


def _disturbance(foreign_cores: float) -> str:
    """Return the line that warns of what other processes did, nothing when they did little."""
    if is_clean(foreign_cores):
        return ""
    return f"\n  Other processes kept {foreign_cores:.1f} cores busy meanwhile: distrust these times."


def _engine_lines(engine: EngineProfile) -> Iterator[str]:
    yield (
        f"{engine.engine}: {engine.call_ms:.2f} ms a call; under the profiler {engine.profiled_ms:.2f} ms,"
        f" the median of {engine.num_calls}; {engine.named_share:.1%} of it in named blocks"
        f"{_disturbance(engine.foreign_cores)}"
    )
    yield from _block_lines(engine)
    yield ""
    yield from _operator_lines(engine)
    yield ""
    yield from _request_lines(engine)
    yield ""
    yield from _memory_lines(engine)


def _block_lines(engine: EngineProfile) -> Iterator[str]:
    int8 = any(row.int8_share is not None for row in engine.blocks)
    header = f"  {'block':<{_WIDTH}}{'ms':>9}{'share':>8}{'GFLOP':>9}{'GFLOP/s':>9}{'of float32':>12}"
    yield header + f"{'of int8':>9}" * int8
    for row in (*engine.blocks, engine.total):
        yield _block_line(row) + f"{_percent(row.int8_share):>9}" * int8


def _block_line(row: BlockRow) -> str:
    flop = "-" if row.flop is None else f"{row.flop / 1e9:.3f}"
    gflops = "-" if row.gflops is None else f"{row.gflops:.0f}"
    return (
        f"  {row.block:<{_WIDTH}}{row.ms:>9.3f}{row.share:>8.1%}{flop:>9}{gflops:>9}"
        f"{_percent(row.float32_share):>12}"
    )


def _operator_lines(engine: EngineProfile) -> Iterator[str]:
    shown, rest = engine.operators[:_NUM_OPERATORS], engine.operators[_NUM_OPERATORS:]
    rows = [(row.operator, row.num_runs, row.ms, row.share) for row in shown]
    if rest:
        sums = sum(row.num_runs for row in rest), sum(row.ms for row in rest), sum(row.share for row in rest)
        rows.append((f"{len(rest)} more kinds", *sums))
    width = max(_WIDTH, *(len(row[0]) for row in rows))
    yield f"  {'operator':<{width}}{'runs':>6}{'ms':>9}{'share':>8}"
    for name, runs, ms, share in rows:
        yield f"  {name:<{width}}{runs:>6}{ms:>9.3f}{share:>8.1%}"


def _request_lines(engine: EngineProfile) -> Iterator[str]:
    request = engine.request
    if request.shares is None:
        yield f"  {request.reason}"
        return
    yield f"  a zero-shot request, {request.ms:.1f} ms, the mean of {request.num_requests}"
    yield "  " + ", ".join(f"{stage} {share:.1%}" for stage, share in request.shares.items())


def _memory_lines(engine: EngineProfile) -> Iterator[str]:
    yield f"  {'memory, MB after':<{_WIDTH}}{'import':>9}{'load':>9}{'first':>9}{'steady':>9}{'call ms':>10}"
    for row in engine.memory:
        sizes = (row.import_bytes, row.load_bytes, row.first_bytes, row.steady_bytes)
        cells = "".join(f"{size / _MB:>9.0f}" for size in sizes)
        yield f"  {_switches(row):<{_WIDTH}}{cells}{row.call_ms:>10.2f}"


def _switches(row: MemoryRow) -> str:
    if row.arena is None:
        return "PyTorch's allocator"
    return f"arena {_on_off(row.arena)}, pattern {_on_off(bool(row.mem_pattern))}"


def _side_by_side(profile: Profile) -> Iterator[str]:
    columns = [{row.block: row.ms for row in (*engine.blocks, engine.total)} for engine in profile.engines]
    widths = [max(9, len(engine.engine) + 2) for engine in profile.engines]
    names = zip(profile.engines, widths, strict=True)
    yield f"  {'ms':<{_WIDTH}}" + "".join(f"{engine.engine:>{width}}" for engine, width in names)
    for block in (*profile.block_names(), profile.engines[0].total.block):
        cells = (
            f"{_milliseconds(column.get(block)):>{width}}"
            for column, width in zip(columns, widths, strict=True)
        )
        yield f"  {block:<{_WIDTH}}{''.join(cells)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _milliseconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.3f}"


def _on_off(switch: bool) -> str:
    return "on" if switch else "off"
