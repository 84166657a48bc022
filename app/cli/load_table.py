"""The load test's results as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.load.samples import Comparison, LoadLevel
from use_cases.load.tables import LOAD_TITLES, number

_MB = 1e6


def load_table(levels: Sequence[LoadLevel], comparisons: Sequence[Comparison]) -> str:
    """Return a line for each number of clients, then each comparison and what it is made of."""
    lines = [
        f"{'clients':>7}{'req/s':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'ok':>7}{'429':>6}{'5xx':>5}"
        f"{'other':>7}{'hung':>6}{'batch':>7}{'MB before':>11}{'after':>7}{'client cores':>14}"
    ]
    lines += [_level_line(level) for level in levels]
    for comparison in comparisons:
        lines += ["", _comparison_line(comparison)]
        lines += [
            f"  {name:<36}{part.median:>10.2f}  {part.min:.2f}-{part.max:.2f}"
            for name, part in comparison.parts.items()
        ]
    return "\n".join(lines)


def _level_line(level: LoadLevel) -> str:
    times = "".join(f"{number(ms, 1):>9}" for ms in (level.p50_ms, level.p95_ms, level.p99_ms))
    return (
        f"{level.clients:>7}{number(level.requests_per_s, 1):>9}{times}{level.ok:>7}{level.shed:>6}"
        f"{level.server_errors:>5}{level.other_errors:>7}{level.hung:>6}{number(level.mean_batch_size, 2):>7}"
        f"{level.rss_before_bytes / _MB:>11.0f}{level.rss_after_bytes / _MB:>7.0f}{level.client_cores:>14.2f}"
    )


def _comparison_line(comparison: Comparison) -> str:
    title, value = LOAD_TITLES[comparison.measurement], comparison.value
    if value is None:
        return f"{comparison.measurement}: not available: {comparison.reason} ({title})"
    note = f"; {comparison.note}" if comparison.note else ""
    return (
        f"{comparison.measurement}: {value.median:.3g} {comparison.unit}, {value.min:.3g} to {value.max:.3g},"
        f" {value.num_clean} of {value.num_rounds} rounds clean ({title}{note})"
    )
