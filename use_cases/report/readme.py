"""The parts of the project's README that show measured numbers, each between markers that name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from use_cases.report.kind import Entry, Row, origin
from use_cases.report.markdown import paragraph
from use_cases.report.overview import losses_intro
from use_cases.report.requests import measured_engine
from use_cases.report.seeds import compare_losses, seeds_summary, seeds_table
from use_cases.report.towers import towers_table
from use_cases.results import InvalidRecordError

MODEL = "random:siglip-base-patch16-224"  # whose engines README shows
_REQUEST_ENGINE = "onnx-int8-dynamic"
_LOAD = ("siglit-mini", "onnx-fp32")
_SHOWN_METRICS = (
    "animals_top1", "objects_top1", "drawings_top1", "text_to_image_recall_at_1", "image_to_text_recall_at_1",
)  # fmt: skip
_BLOCK = re.compile(r"(<!-- report:([a-z-]+) -->\n)(.*?)(<!-- /report -->)", re.DOTALL)


def fill_readme(text: str, entries: Sequence[Entry]) -> str:
    """Return README's text with every block written anew.

    Raises:
        InvalidRecordError: when README's blocks are not those of BLOCKS, or there is no record for one.
    """
    names = [match[1] for match in _BLOCK.findall(text)]
    if sorted(names) != sorted(BLOCKS):
        raise InvalidRecordError(
            f"README.md must have one block between <!-- report:NAME --> and <!-- /report --> for each of"
            f" {', '.join(BLOCKS)}; it has {', '.join(names) or 'none'}."
        )
    return _BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]](entries)}\n{match[4]}", text)


def _engines(entries: Sequence[Entry]) -> str:
    entry = _newest(entries, "towers", lambda each: each.model == MODEL, size=lambda each: len(each.rows))
    models = dict.fromkeys(row["model"] for row in entry.record["results"])
    others = [f"`{model}`" for model in models if model != MODEL]
    source = f"[All figures]({_page(entry)}){', also of ' * bool(others)}{', '.join(others)}."
    return f"{paragraph(f'{origin(entry.record)}. {source}')}\n\n{towers_table(entry.rows)}"


def _requests(entries: Sequence[Entry]) -> str:
    entry = _newest(
        entries,
        "requests",
        lambda each: each.model == MODEL and measured_engine(each.rows) == _REQUEST_ENGINE,
    )
    plain = {row["measurement"]: row["times_plain"] for row in entry.rows if row["times_plain"] is not None}
    values = _medians(entry.rows)
    facts = {
        "zero-shot with ten labels asked before is {:.1f} times as fast as transformers' pipeline": (
            plain.get("zero_shot_known")
        ),
        "with ten new ones {:.1f} times": plain.get("zero_shot_new"),
        "a 12-megapixel JPEG is decoded and prepared {:.1f} times as fast": plain.get("prepare_large"),
        "two clients at once get {:.2f} times the answers of one": values.get("two_clients"),
        "with its trace a request takes {:.1f} % of the time without": _percent(values.get("tracing")),
        "the image tower reaches {:.0f} % of the CPU's int8 peak": _percent(values.get("image_tower_share")),
    }
    return paragraph(
        f"Whole requests, on `{_REQUEST_ENGINE}` ([record]({_page(entry)}); {origin(entry.record)}):"
        f" {_joined(facts)}."
    )


def _load(entries: Sequence[Entry]) -> str:
    model, engine = _LOAD
    entry = _newest(
        entries,
        "load",
        lambda each: (
            each.model == model
            and each.rows[0]["engine"] == engine
            and any(row["measurement"] == "load" for row in each.rows)
        ),
    )
    values = _medians(row for row in entry.rows if row["measurement"] != "load")
    lone: Row = next((row["parts"] for row in entry.rows if row["measurement"] == "lone"), {})
    most = max(
        (row for row in entry.rows if row["measurement"] == "load"), key=lambda row: int(row["clients"])
    )
    lost = values.get("overhead")
    facts = {
        "16 clients get {:.0f} % of the rate of a loop without a server": (
            None if lost is None else _percent(1 - lost)
        ),
        "the learned policy gets {:.0f} % of the best fixed one's": _percent(values.get("policy")),
        "a lone client waits {:.1f} ms beside decoding, preparing and embedding its image": (
            lone["beside_image_work_ms"]["median"] if "beside_image_work_ms" in lone else None
        ),
        "the same request again is answered {:.0f} times as fast": values.get("repeat"),
        "64 new labels in one request {:.1f} times as fast as one by one": values.get("labels"),
        f"with {most['clients']} clients {{:.0f}} requests failed": (
            most["server_errors"] + most["other_errors"] + most["hung"]
        ),
        "{:.0f} were refused": most["shed"],
    }
    return paragraph(
        f"`{model}` on `{engine}` ([record]({_page(entry)}); {origin(entry.record)}; medians of the rounds"
        f" that nobody disturbed): {_joined(facts)}."
    )


def _siglit_against_lit(entries: Sequence[Entry]) -> str:
    losses = compare_losses()
    shown = [losses[metric] for metric in _SHOWN_METRICS]
    summary = (
        f"{seeds_summary(list(losses.values()))} The [other"
        " metrics](comparison_results/README.md#siglit-against-lit-at-tiny-scale) are beside the records."
    )
    intro = losses_intro(len(shown[0].difference.values))
    return f"{paragraph(intro)}\n\n{seeds_table(shown)}\n\n{paragraph(summary)}"


def _newest(
    entries: Sequence[Entry],
    kind: str,
    fits: Callable[[Entry], bool],
    size: Callable[[Entry], int] = lambda entry: 0,
) -> Entry:
    """Return the newest of the largest entries that fit: a quick try takes no whole record's place."""
    found = [entry for entry in entries if entry.record["kind"] == kind and fits(entry)]
    if not found:
        raise InvalidRecordError(f"No record of kind {kind!r} has what README.md shows.")
    return max(found, key=lambda entry: (size(entry), entry.record["created_utc"]))


def _page(entry: Entry) -> str:
    return f"comparison_results/{entry.stem}.md"


def _medians(rows: Iterable[Row]) -> dict[str, float | None]:
    return {row["measurement"]: row["value"] and row["value"]["median"] for row in rows}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _joined(facts: Mapping[str, float | None]) -> str:
    """Return the sentences with their values, without those that were not measured."""
    return "; ".join(sentence.format(value) for sentence, value in facts.items() if value is not None)


BLOCKS: Mapping[str, Callable[[Sequence[Entry]], str]] = MappingProxyType(
    {
        "siglit-against-lit": _siglit_against_lit,
        "engines": _engines,
        "requests": _requests,
        "load": _load,
    }
)
