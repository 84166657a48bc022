"""The request benchmark's results as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.report.requests import REQUEST_TITLES
from use_cases.request_benchmark import RequestResult


def requests_table(results: Sequence[RequestResult]) -> str:
    """Return, for each model, a line for every quantity and engine."""
    lines: list[str] = []
    for model in dict.fromkeys(result.model for result in results):
        lines += [
            model,
            f"  {'':<42}{'engine':<20}{'median':>10}{'range':>20}  {'unit':<17}{'x plain':>8}{'clean':>7}",
        ]
        lines += [_line(result) for result in results if result.model == model]
        lines.append("")
    lines.append(
        "x plain: how many times as fast as transformers' processor or pipeline; best int8 matrix product:"
        "\nof a few MatMulInteger products in ONNX Runtime. The peak needs a C compiler that knows this CPU's"
        "\nbest instructions."
    )
    return "\n".join(lines)


def _line(result: RequestResult) -> str:
    start = f"  {REQUEST_TITLES[result.measurement]:<42}{result.engine:<20}"
    value = result.value
    if value is None:
        return f"{start}not available: {result.reason or 'it does not apply here.'}"
    times = "-" if result.times_plain is None else f"{result.times_plain:.2f}"
    error = (
        "" if result.max_pixel_error is None else f"  pixels differ by {result.max_pixel_error:.4f} at most"
    )
    return (
        f"{start}{value.median:>10.2f}{f'{value.min:.2f}-{value.max:.2f}':>20}  {result.unit:<17}{times:>8}"
        f"{f'{value.num_clean}/{value.num_rounds}':>7}{error}"
    )
