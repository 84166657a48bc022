"""A profile as tables for people."""

from __future__ import annotations

from collections.abc import Iterator

from use_cases.profiling.results import EngineProfile, MachinePeak, MemoryRow, Part, Profile, disturbance

_MB = 1e6
_NUM_OPERATORS = 12  # kinds in the table; the JSON has all
_WIDTH = 26  # of a name
_SWITCHES = (
    "arena: memory that an activation gave back is kept for the next one, never returned to the system;"
    "\npattern: activations of known shapes are planned into one piece. --no-ort-arena and --ort-mem-pattern"
    "\nswitch them."
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
    """Return the line with that warning."""
    warning = disturbance(foreign_cores)
    return f"\n  {warning}" if warning else ""


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
    int8 = _multiplies_integers(engine)
    yield f"  {'block':<{_WIDTH}}{_part_head(int8)}"
    for row in (*engine.blocks, engine.total):
        yield f"  {row.block:<{_WIDTH}}{_part_cells(row, int8)}"


def _operator_lines(engine: EngineProfile) -> Iterator[str]:
    int8 = _multiplies_integers(engine)
    shown, rest = engine.operators[:_NUM_OPERATORS], engine.operators[_NUM_OPERATORS:]
    width = max(_WIDTH, *(len(row.operator) for row in shown))
    yield f"  {'operator':<{width}}{'runs':>6}{_part_head(int8)}"
    for row in shown:
        yield f"  {row.operator:<{width}}{row.num_runs:>6}{_part_cells(row, int8)}"
    if rest:
        flop = sum(row.flop or 0 for row in rest) or None
        sums = Part(ms=sum(row.ms for row in rest), share=sum(row.share for row in rest), flop=flop)
        name, runs = f"{len(rest)} more kinds", sum(row.num_runs for row in rest)
        yield f"  {name:<{width}}{runs:>6}{_part_cells(sums, int8)}"


def _multiplies_integers(engine: EngineProfile) -> bool:
    return any(row.int8_share is not None for row in engine.blocks)


def _part_head(int8: bool) -> str:
    return f"{'ms':>9}{'share':>8}{'GFLOP':>9}{'GFLOP/s':>9}{'of float32':>12}" + f"{'of int8':>9}" * int8


def _part_cells(part: Part, int8: bool) -> str:
    flop = "-" if part.flop is None else f"{part.flop / 1e9:.3f}"
    gflops = "-" if part.gflops is None else f"{part.gflops:.0f}"
    cells = f"{part.ms:>9.3f}{part.share:>8.1%}{flop:>9}{gflops:>9}{_percent(part.float32_share):>12}"
    return cells + f"{_percent(part.int8_share):>9}" * int8


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
