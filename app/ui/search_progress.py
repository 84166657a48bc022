"""Draw how far a gallery has been filled: a bar, the rate, counts, notes, and the unusable files."""

from __future__ import annotations

from app.ui.html_parts import escape
from engines.errors import EngineError
from use_cases.retrieval.demo_gallery import DEMO
from use_cases.retrieval.errors import IndexMismatchError
from use_cases.retrieval.galleries import GalleryStatus
from use_cases.retrieval.jobs import IndexJob
from use_cases.retrieval.progress import IngestProgress

_MAX_LISTED = 100  # files that could not be used
# What the error asks for, on the page.
_OUTDATED = "“Add your own images” has both, where the page offers it; else ask who runs this server."

CSS = """
.filling { border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg); padding: 12px 14px;
    background: var(--background-fill-primary); color: var(--body-text-color); font-size: .9rem; }
.filling p { margin: 0 0 6px; color: var(--body-text-color); overflow-wrap: anywhere; }
.filling .track { display: block; height: 8px; border-radius: 4px; overflow: hidden;
    background: var(--border-color-primary); }
.filling .fill { display: block; height: 100%; background: var(--color-accent); }
.filling .counts + p { margin-top: 6px; }
.filling .counts { margin: 6px 0 0; opacity: .8; font-variant-numeric: tabular-nums; }
.filling details { margin-top: 8px; }
.filling summary { cursor: pointer; }
.filling ul { margin: 6px 0 0; padding-left: 18px; max-height: 200px; overflow-y: auto; }
.filling li { overflow-wrap: anywhere; }
"""


def page_sentence(error: EngineError) -> str:
    """Return what an error says, with the part of the page that helps."""
    return f"{error} {_OUTDATED}" if isinstance(error, IndexMismatchError) else str(error)


def render_status(status: GalleryStatus) -> str:
    """Return what happens to a gallery as HTML; nothing for the shipped one once it is complete."""
    job = status.job
    if job is None or (status.name == DEMO and job.state == "done"):
        return ""
    return f'<div class="filling" role="status">{_headline(status.name, job)}{_progress(job)}</div>'


def _headline(name: str, job: IndexJob) -> str:
    why = page_sentence(job.failure) if job.failure is not None else ""
    headlines = {
        "waiting": f"Waiting to fill the gallery “{name}”: images are being added to another one.",
        "running": f"Filling the gallery “{name}”. What is in it already can be searched.",
        "done": f"The gallery “{name}” is up to date.",
        "cancelled": f"Filling the gallery “{name}” was stopped; what was added stays.",
        "failed": f"Filling the gallery “{name}” failed. {why}",
    }
    return f"<p><b>{escape(headlines[job.state])}</b></p>"


def _progress(job: IndexJob) -> str:
    progress = job.progress
    if job.state == "waiting":
        return ""
    total = progress.total
    share = 100 * progress.done / total if total else 0.0
    bar = (
        f'<span class="track" role="progressbar" aria-label="images" aria-valuemin="0" aria-valuemax="100"'
        f' aria-valuenow="{share:.0f}"><span class="fill" style="width: {share:.1f}%"></span></span>'
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in progress.notes)
    counts = _counts(progress, running=not job.has_ended)
    return f'{bar}<p class="counts">{counts}</p>{notes}{_failures(progress)}'


def _counts(progress: IngestProgress, *, running: bool) -> str:
    parts = [f"{progress.done:,} of {progress.total:,}" if progress.total is not None else "counting"]
    if progress.is_indexing:
        parts.append("building the ANN index")
    if progress.done:
        parts.append(f"{progress.images_per_s:.0f} images/s")
    if running and progress.remaining_s is not None:
        parts.append(f"{progress.remaining_s:.0f} s left")
    if not running:
        parts.append(f"{progress.elapsed_s:.0f} s")
    counts = {
        "added": progress.added,
        "replaced": progress.replaced,
        "unchanged": progress.unchanged,
        "removed": progress.removed,
        "near-duplicates": progress.duplicates,
        "unusable": progress.num_failed,
    }
    return " · ".join([*parts, *(f"{count:,} {what}" for what, count in counts.items() if count)])


def _failures(progress: IngestProgress) -> str:
    if not progress.num_failed:
        return ""
    rows = "".join(
        f"<li><b>{escape(each.id)}</b>: {escape(each.reason)}</li>" for each in progress.failed[:_MAX_LISTED]
    )
    rest = progress.num_failed - min(len(progress.failed), _MAX_LISTED)
    rows += f"<li>and {rest:,} more</li>" if rest else ""
    title = f"Files that could not be used: {progress.num_failed:,}"
    return f"<details><summary>{title}</summary><ul>{rows}</ul></details>"
