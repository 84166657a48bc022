"""Answers of a search, and what a gallery holds, as the doors for programs tell them."""

from __future__ import annotations

import base64
from dataclasses import asdict, fields
from typing import Any

from use_cases.retrieval.galleries import GalleryStatus
from use_cases.retrieval.jobs import IndexJob
from use_cases.retrieval.records import as_json
from use_cases.retrieval.search import ImageHit, SearchAnswer
from use_cases.retrieval.text_search import TextAnswer, TextHit

_COUNTS = ("total", "done", "added", "replaced", "unchanged", "removed", "duplicates", "num_failed")
_TIMES = ("images_per_s", "remaining_s", "elapsed_s")


def answer_json(answer: SearchAnswer | TextAnswer, *, thumbnails: bool = False) -> dict[str, Any]:
    """Return what one model found.

    Args:
        answer: it.
        thumbnails: show images, as data URIs of JPEGs.
    """
    facts = {each.name: getattr(answer, each.name) for each in fields(answer) if each.name != "hits"}
    return {**facts, "hits": [_hit_json(hit, thumbnails) for hit in answer.hits]}


def _hit_json(hit: ImageHit | TextHit, thumbnails: bool) -> dict[str, Any]:
    numbers: dict[str, Any] = {"rank": hit.rank, "score": hit.score, "cosine": hit.cosine}
    if isinstance(hit, TextHit):
        return {**numbers, "text": hit.text}
    facts = {**numbers, **as_json(hit.image)}
    if thumbnails:
        facts["thumbnail"] = f"data:image/jpeg;base64,{base64.b64encode(hit.image.thumbnail).decode()}"
    return facts


def gallery_json(status: GalleryStatus, *, failures: bool = True) -> dict[str, Any]:
    """Return what a gallery holds, and what happens to it.

    Args:
        status: it.
        failures: list the files that could not be added.
    """
    return {
        "id": status.name,
        "object": "gallery",
        "images": status.images,
        "job": None if status.job is None else _job_json(status.job, failures),
    }


def _job_json(job: IndexJob, failures: bool) -> dict[str, Any]:
    progress = job.progress
    facts = {
        "state": job.state,
        "error": job.error or None,
        "is_indexing": progress.is_indexing,
        "notes": progress.notes,
        "models": list(job.models),
        **{name: getattr(progress, name) for name in _COUNTS},
        **{name: _rounded(getattr(progress, name)) for name in _TIMES},
    }
    return facts | ({"failed": [asdict(file) for file in progress.failed]} if failures else {})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
