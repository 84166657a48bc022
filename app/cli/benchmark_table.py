"""The benchmark's results as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.benchmark import TOWERS, BenchmarkPlan, EngineResult
from use_cases.latency import Summary
from use_cases.wording import counted

_MB = 1e6


def towers_table(results: Sequence[EngineResult], plan: BenchmarkPlan) -> str:
    """Return, for each model, a line an engine for start and size, then its towers and batch sizes."""
    lines: list[str] = []
    for model in dict.fromkeys(result.model for result in results):
        rows = [result for result in results if result.model == model]
        measured = [row for row in rows if row.reason is None]
        how = f"{counted(plan.num_threads, 'thread')}, {counted(plan.num_rounds, 'round')}"
        lines += [f"{model}, {how}", ""]
        lines += [f"  {row.engine:<18} not available: {row.reason}" for row in rows if row.reason is not None]
        lines += _start_lines(measured)
        for tower in TOWERS:
            lines += ["", *_tower_lines(measured, tower, plan)]
        lines.append("")
    lines.append(
        "x plain: how many times as fast as transformers' own model; clean: rounds that nobody disturbed;"
        "\ntext MB: memory of a process that embedded a text and no image."
    )
    return "\n".join(lines)


def _start_lines(rows: Sequence[EngineResult]) -> list[str]:
    header = (
        f"  {'engine':<18}{'load ms':>9}{'first ms':>10}{'RSS MB':>8}{'text MB':>9}{'peak MB':>9}"
        f"{'files MB':>10}{'cos image':>11}{'min':>9}{'cos text':>10}{'min':>9}{'top-1':>8}"
    )
    return [header, *(_start_line(row) for row in rows)]


def _start_line(row: EngineResult) -> str:
    agreement = row.agreement
    cosines = (
        f"{agreement.image_cosine_mean:>11.5f}{agreement.image_cosine_min:>9.5f}"
        f"{agreement.text_cosine_mean:>10.5f}{agreement.text_cosine_min:>9.5f}{agreement.top1:>8.1%}"
        if agreement
        else f"{'-':>11}{'-':>9}{'-':>10}{'-':>9}{'-':>8}"
    )
    files = "-" if row.artifact_bytes is None else f"{row.artifact_bytes / _MB:.0f}"
    return (
        f"  {row.engine:<18}{_median(row.load_ms):>9}{_median(row.first_embedding_ms):>10}"
        f"{_median(row.rss_bytes, _MB):>8}{_median(row.text_rss_bytes, _MB):>9}"
        f"{_median(row.peak_rss_bytes, _MB):>9}{files:>10}{cosines}"
    )


def _tower_lines(rows: Sequence[EngineResult], tower: str, plan: BenchmarkPlan) -> list[str]:
    lines = [
        f"  {tower + ' tower':<18}{'batch':>6}{'p50 ms':>10}{'range':>18}{'p95 ms':>10}{'items/s':>10}"
        f"{'x plain':>9}{'clean':>7}"
    ]
    for row in rows:
        for size in map(str, plan.batch_sizes):
            p50 = row.p50_ms[tower][size]
            times = row.times_plain[tower][size]
            lines.append(
                f"  {row.engine:<18}{size:>6}{p50.median:>10.2f}{f'{p50.min:.2f}-{p50.max:.2f}':>18}"
                f"{row.p95_ms[tower][size].median:>10.2f}{row.items_per_s[tower][size].median:>10.1f}"
                f"{'-' if times is None else f'{times:.2f}':>9}{f'{p50.num_clean}/{p50.num_rounds}':>7}"
            )
    return lines


def _median(summary: Summary | None, unit: float = 1.0) -> str:
    return "-" if summary is None else f"{summary.median / unit:.0f}"
