"""How python -m app.cli.index prints what it did and found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.search import ImageHit, SearchAnswer, text_warnings
from use_cases.retrieval.text_search import TextAnswer, TextHit
from use_cases.retrieval.verify import Verification

_SHOWN_FAILURES = 20


def progress_line(progress: IngestProgress) -> str:
    """Return how far an ingestion has come."""
    if progress.is_indexing:
        return f"{progress.done:,} images, building the ANN index    "
    of = "" if progress.total is None else f" of {progress.total:,}"
    left = "" if progress.remaining_s is None else f", {progress.remaining_s:.0f} s left"
    return f"{progress.done:,}{of} images, {progress.images_per_s:.1f}/s{left}    "


def ingest_report(added: Sequence[tuple[str, IngestProgress]]) -> str:
    """Return what became of each source, for people; the name of a lone one need not be told."""
    if len(added) == 1:
        return "\n".join(_ingested(added[0][1]))
    lines: list[str] = []
    for source, progress in added:
        lines += [source, *(f"  {line}" for line in _ingested(progress))]
    return "\n".join(lines)


def _ingested(progress: IngestProgress) -> list[str]:
    lines = [
        f"{progress.added:,} added, {progress.replaced:,} replaced, {progress.unchanged:,} unchanged,"
        f" {progress.removed:,} removed, {progress.num_failed:,} unusable,"
        f" {progress.duplicates:,} duplicates;"
        f" {progress.elapsed_s:.1f} s, {progress.images_per_s:.1f} images/s"
    ]
    lines += [f"  {note}" for note in progress.notes]
    lines += [f"  {failed.id}: {failed.reason}" for failed in progress.failed[:_SHOWN_FAILURES]]
    if progress.num_failed > _SHOWN_FAILURES:
        lines.append(f"  and {progress.num_failed - _SHOWN_FAILURES:,} more")
    return lines


def answer_table(answer: SearchAnswer | TextAnswer) -> str:
    """Return the hits, for people."""
    head = f"{answer.model} on {answer.engine}"
    if isinstance(answer, SearchAnswer):
        head += f", {answer.searched:,} of {answer.total:,} images searched"
        head += "" if answer.exact else ", by an ANN index"
        head = "\n  ".join([head, *text_warnings(answer)])
    elif answer.left_out:
        head += f", {answer.compared:,} captions compared, {answer.left_out:,} left out"
    if not answer.hits:
        return f"{head}\n{answer.explanation}"
    by_probability = answer.score_kind == "probability"  # else the score is the cosine
    lines = [head, f"  {'':>4}{'  probability' if by_probability else ''}  {'cosine':>7}"]
    for hit in answer.hits:
        probability = f"  {hit.score:>11.1%}" if by_probability else ""
        lines.append(f"  {hit.rank:>4}{probability}  {hit.cosine:7.4f}  {_found(hit)}")
    return "\n".join(lines)


def _found(hit: ImageHit | TextHit) -> str:
    if isinstance(hit, TextHit):
        return hit.text
    return f"{hit.image.id}  ({hit.image.caption})" if hit.image.caption else hit.image.id


def verify_report(found: Mapping[str, Verification]) -> str:
    """Return what is wrong with an index, for people."""
    lines: list[str] = []
    for model, each in found.items():
        lines.append(f"{model}: {each.images:,} images, {len(each.problems) or 'no'} problems")
        lines += [f"  {problem}" for problem in each.problems]
    return "\n".join(lines)
