"""The page of comparison_results/: all records, the losses compared, then the latest tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from use_cases.report.chart import Chart
from use_cases.report.kind import Entry, Kind, origin, processor
from use_cases.report.kinds import KINDS, kind_of
from use_cases.report.markdown import paragraph
from use_cases.report.seeds import Comparison, seeds_charts, seeds_summary, seeds_table
from use_cases.report.subjects import latest

PLOTS = "plots"  # folder of the charts, beside the page
_INTRO = """# Comparison results

Measured records only. Each is a JSON file that [schema.json](schema.json) describes: it holds its command,
commit, package versions, machine, threads, seed, rounds, how many of them nobody disturbed, and every round's
numbers. A file's name says what was measured, on which CPU, with how many cores and threads, on which torch
and ONNX Runtime, and when. `null` stands for what could not be measured. The page of the same name shows a
record's medians as tables.

The commands that measure write a record with `--write`: `python -m app.cli.benchmark`,
`app.cli.benchmark_index`, `app.cli.loadtest` and `app.cli.evaluate`. This page, the records' pages, the
charts and the blocks of the project's README with measured numbers are made from the records by
`python -m app.cli.report`, and a test compares them; no number is edited by hand."""


def overview(
    entries: Sequence[Entry], charts: Mapping[str, Sequence[Chart]], losses: Sequence[Comparison]
) -> str:
    """Return the page.

    Args:
        entries: of all records.
        charts: by kind, what is drawn.
        losses: the bundled pair's metrics.
    """
    parts = [_INTRO, "## Records", _records(entries), _losses(losses)]
    for name in kinds_in_order(entries):
        kind = kind_of(name)
        parts.append(f"## {kind.title}")
        parts += [
            part
            for entry in latest([each for each in entries if each.record["kind"] == name], kind)
            for part in _section(kind, entry)
        ]
        parts += [embed(chart) for chart in charts[name]]
    return "\n\n".join(parts) + "\n"


def kinds_in_order(entries: Sequence[Entry]) -> list[str]:
    """Return the kinds that there are records of: the known ones first, the others by name."""
    present = {entry.record["kind"] for entry in entries}
    return [name for name in KINDS if name in present] + sorted(present - KINDS.keys())


def embed(chart: Chart) -> str:
    """Return a chart as the page shows it: the SVG, which leads to plotly's page."""
    return f"[![{chart.title}]({PLOTS}/{chart.name}.svg)]({PLOTS}/{chart.name}.html)"


def losses_intro(num_seeds: int) -> str:
    """Return what was compared, and how."""
    return (
        "The bundled pair asks the SigLIP paper's question of SigLiT against LiT"
        " ([arXiv 2303.15343](https://arxiv.org/abs/2303.15343)) at tiny scale: is a sigmoid loss as good"
        f" as a softmax loss? The pair differs only in the loss. Each was trained with {num_seeds} seeds and"
        " measured on held-out concepts; runs of the same seed have the same start and the same batches, and"
        " are compared with each other. ± is the half-width of the 95 % interval over the seeds (Student's"
        " t)."
    )


def _losses(losses: Sequence[Comparison]) -> str:
    intro = (
        f"{losses_intro(len(losses[0].difference.values))} It covers the seeds, not the choice of pictures."
        " The numbers are from [metrics.json](../engines/bundled/metrics.json); the"
        " [model card](../engines/bundled/MODEL_CARD.md) tells how they were measured. Retrieval records of"
        " the shipped pair answer another question, of one seed and over other pictures."
    )
    return "\n\n".join(
        [
            "## SigLiT against LiT at tiny scale",
            paragraph(intro),
            seeds_table(losses),
            paragraph(seeds_summary(losses)),
            *(embed(chart) for chart in seeds_charts(losses)),
        ]
    )


def _records(entries: Sequence[Entry]) -> str:
    lines = [
        "| record | what | machine | threads | date (UTC) | commit | rounds, clean |",
        "|---|---|---|---:|---|---|---:|",
    ]
    by_stem = {entry.stem: [each for each in entries if each.stem == entry.stem] for entry in entries}
    for stem, its in sorted(by_stem.items(), key=lambda item: (item[1][0].record["kind"], item[0])):
        record = its[0].record
        kind = kind_of(record["kind"])
        cells = (
            f"[{record['kind']}]({stem}.md) ([json]({stem}.json))",
            "; ".join(kind.subject(entry) for entry in its),
            processor(record),
            f"{record['threads']}",
            record["created_utc"].replace("T", " ").removesuffix("Z"),
            f"{record['commit'] or '-'}",
            f"{record['rounds']}, {record['clean_rounds']}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _section(kind: Kind, entry: Entry) -> list[str]:
    main = kind.tables(entry.rows).partition("\n\n")[0]
    return [
        f"### {kind.subject(entry)}",
        main,
        f"{origin(entry.record)}. [All of it]({entry.stem}.md).",
    ]
