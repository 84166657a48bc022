"""How python -m app.cli.index prints what it did and found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.records import as_json
from use_cases.retrieval.search import ImageHit, SearchAnswer
from use_cases.retrieval.text_search import TextAnswer, TextHit
from use_cases.retrieval.verify import Verification

_SHOWN_FAILURES = 20


def progress_line(progress: IngestProgress) -> str:
    """Return how far an ingestion has come."""
    of = "" if progress.total is None else f" of {progress.total:,}"
    left = "" if progress.remaining_s is None else f", {progress.remaining_s:.0f} s left"
    return f"{progress.done:,}{of} images, {progress.images_per_s:.1f}/s{left}    "


def ingest_report(progress: IngestProgress) -> str:
    """Return what an ingestion did, for people."""
    lines = [
        f"{progress.added:,} added, {progress.replaced:,} replaced, {progress.unchanged:,} unchanged,"
        f" {progress.removed:,} removed, {progress.num_failed:,} unusable,"
        f" {progress.duplicates:,} duplicates;"
        f" {progress.elapsed_s:.1f} s, {progress.images_per_s:.1f} images/s"
    ]
    lines += [f"  {failed.id}: {failed.reason}" for failed in progress.failed[:_SHOWN_FAILURES]]
    if progress.num_failed > _SHOWN_FAILURES:
        lines.append(f"  and {progress.num_failed - _SHOWN_FAILURES:,} more")
    return "\n".join(lines)


def answer_table(answer: SearchAnswer | TextAnswer) -> str:
    """Return the hits, for people."""
    head = f"{answer.model} on {answer.engine}"
    if isinstance(answer, SearchAnswer):
        head += f", {answer.searched:,} of {answer.total:,} images searched"
        head += "" if answer.exact else ", by an ANN index"
    if not answer.hits:
        return f"{head}\n{answer.explanation}"
    lines = [head, f"  {'':>4}  {answer.score_kind:>11}  {'cosine':>7}"]
    for hit in answer.hits:
        score = f"{hit.score:.1%}" if answer.score_kind == "probability" else f"{hit.score:.4f}"
        lines.append(f"  {hit.rank:>4}  {score:>11}  {hit.cosine:7.4f}  {_found(hit)}")
    return "\n".join(lines)


def _found(hit: ImageHit | TextHit) -> str:
    if isinstance(hit, TextHit):
        return hit.text
    return f"{hit.image.id}  ({hit.image.caption})" if hit.image.caption else hit.image.id


def answer_json(answer: SearchAnswer | TextAnswer) -> str:
    """Return the hits as one line of JSON."""
    facts = {each.name: getattr(answer, each.name) for each in fields(answer) if each.name != "hits"}
    return json.dumps({**facts, "hits": [_hit_json(hit) for hit in answer.hits]})


def _hit_json(hit: ImageHit | TextHit) -> dict[str, object]:
    numbers: dict[str, object] = {"rank": hit.rank, "score": hit.score, "cosine": hit.cosine}
    return numbers | ({"text": hit.text} if isinstance(hit, TextHit) else as_json(hit.image))


def verify_report(found: Mapping[str, Verification]) -> str:
    """Return what is wrong with an index, for people."""
    lines: list[str] = []
    for model, each in found.items():
        lines.append(f"{model}: {each.images:,} images, {len(each.problems) or 'no'} problems")
        lines += [f"  {problem}" for problem in each.problems]
    return "\n".join(lines)
