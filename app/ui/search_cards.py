"""Draw what each model found as HTML: a column for each, a card for each image, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from app.ui.html_parts import data_uri, escape, render_bar, render_note, render_score, render_stages
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.search import ImageHit, SearchAnswer, text_warnings
from use_cases.retrieval.text_search import TextAnswer, TextHit
from use_cases.wording import counted

Answer: TypeAlias = "SearchAnswer | TextAnswer | str"  # a sentence in place of what could not be answered

EMPTY_STATE = render_note(
    "Describe a picture, or drop one, then press Search.",
    "Or click one of the examples: each gives its answer at once.",
)
# The listener sits on the component, which stays when its content is drawn anew.
ON_LOAD = """
element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    if (!button) return;
    if (button.dataset.action === "clear") trigger("clear");
    else trigger("select", {id: button.dataset.id || "", text: button.dataset.text || ""});
});
"""
_KINDS = {
    "probability": "Probability that the text fits the image.",
    "cosine": "Cosine of the image with the whole query.",
}

CSS = """
.found { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 16px; }
.found > section { border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg);
    padding: 14px; background: var(--background-fill-primary); color: var(--body-text-color); min-width: 0; }
.found h3 { margin: 0 0 2px; font-size: 1.05rem; color: var(--body-text-color); }
.found p.note { margin: 0 0 10px; font-size: .85rem; color: var(--body-text-color); opacity: .75; }
.found ol { list-style: none; margin: 0; padding: 0; }
.found ol.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 10px; }
.found li { margin: 0; padding: 0; min-width: 0; }
.found button { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; padding: 6px;
    text-align: left; font: inherit; color: var(--body-text-color); cursor: pointer;
    background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary);
    border-radius: var(--radius-md); }
.found button:hover { border-color: var(--color-accent); }
.found button:focus-visible, .chip button:focus-visible { outline: 3px solid var(--color-accent);
    outline-offset: 1px; }
.found .picture { position: relative; display: block; aspect-ratio: 4 / 3; overflow: hidden;
    border-radius: 4px; background: var(--background-fill-primary); }
.found .picture img { width: 100%; height: 100%; object-fit: contain; margin: 0; display: block; }
.found .rank, .found .badge { position: absolute; top: 4px; padding: 0 6px; border-radius: 9px;
    font-size: .75rem; line-height: 18px; font-variant-numeric: tabular-nums; }
.found .rank { left: 4px; background: rgba(0, 0, 0, .65); color: #fff; }
.found .badge { right: 4px; background: rgba(255, 255, 255, .9); color: #1f2937;
    border: 1px solid rgba(0, 0, 0, .2); }
.found .badge.only { background: #fde68a; color: #713f12; }
.found .caption { font-size: .82rem; line-height: 1.25; overflow-wrap: anywhere; display: -webkit-box;
    -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; min-height: 2.5em; }
.found .score { display: flex; align-items: center; gap: 8px; font-size: .8rem;
    font-variant-numeric: tabular-nums; white-space: nowrap; }
.found .track { flex: 1; height: 6px; border-radius: 3px; background: var(--border-color-primary);
    overflow: hidden; min-width: 20px; }
.found .fill { display: block; height: 100%; border-radius: 3px; background: var(--color-accent); }
.found ol.texts li { margin-bottom: 6px; }
.found ol.texts .words { overflow-wrap: anywhere; font-size: .95rem; }
.found .stages { display: flex; flex-wrap: wrap; gap: 4px 12px; margin-top: 12px; font-size: .8rem;
    color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.found .stages span, .found .scope { opacity: .75; }
.found .scope { margin: 10px 0 0; font-size: .8rem; color: var(--body-text-color); }
.chip { display: inline-flex; align-items: center; gap: 10px; max-width: 100%; margin: 0 0 12px;
    padding: 5px 6px 5px 5px; border: 1px solid var(--border-color-primary); border-radius: 12px;
    background: var(--background-fill-secondary); color: var(--body-text-color); font-size: .9rem; }
.chip img { width: 40px; height: 40px; object-fit: cover; border-radius: 8px; margin: 0; }
.chip span { overflow-wrap: anywhere; }
.chip button { width: 28px; height: 28px; flex: none; border: 0; border-radius: 50%; cursor: pointer;
    display: grid; place-items: center; padding: 0; font-size: 1.1rem; line-height: 1;
    background: var(--border-color-primary); color: var(--body-text-color); }
#search-status:not(:has(.filling)) { display: none; }
.overlap { margin: 0 0 10px; font-size: .95rem; color: var(--body-text-color); }
"""


def render_answers(answers: Mapping[str, Answer], liked: ImageRecord | None = None, *, hint: str = "") -> str:
    """Return the HTML of what was found.

    Args:
        answers: by model, in the order of their columns.
        liked: the image of the gallery that was searched by.
        hint: HTML that stands below the sentence when no model found anything for the same reason.
    """
    chip = _chip(liked) if liked else ""
    reasons = {_reason(answer) for answer in answers.values()}
    if len(reasons) == 1 and "" not in reasons:
        return chip + render_note(reasons.pop(), hint)
    columns = "".join(_column(model, answers) for model in answers)
    return f'{chip}{_overlap(answers)}<div class="found">{columns}</div>'


def _chip(liked: ImageRecord) -> str:
    name = escape(liked.caption or liked.id)
    return (
        f'<div class="chip"><img src="{data_uri(liked.thumbnail)}" alt=""><span>Like <b>{name}</b></span>'
        '<button type="button" data-action="clear" aria-label="Stop searching by this image">&times;</button>'
        "</div>"
    )


def _reason(answer: Answer) -> str:
    """Return why there is nothing to show; empty when there is something."""
    return answer if isinstance(answer, str) else answer.explanation


def _overlap(answers: Mapping[str, Answer]) -> str:
    """Return how many images all models found."""
    found = [{hit.image.id for hit in each.hits} for each in _image_answers(answers)]
    if len(found) < 2:
        return ""
    most = max(map(len, found))
    where = "both" if len(found) == 2 else f"all {len(found)}"
    return f'<p class="overlap"><b>{len(set.intersection(*found))} of {most}</b> images are in {where}.</p>'


def _image_answers(answers: Mapping[str, Answer]) -> list[SearchAnswer]:
    return [each for each in answers.values() if isinstance(each, SearchAnswer)]


def _column(model: str, answers: Mapping[str, Answer]) -> str:
    answer = answers[model]
    if isinstance(answer, str):
        inner = f'<p class="note">⚠ {escape(answer)}</p>'
    elif isinstance(answer, SearchAnswer):
        others = [each for each in _image_answers(answers) if each is not answer]
        inner = _images(answer, others)
    else:
        inner = _texts(answer)
    name = escape(model)
    label = f"{name}: {_summary(answer)}"
    return f'<section data-model="{name}" aria-label="{label}"><h3>{name}</h3>{inner}</section>'


def _summary(answer: Answer) -> str:
    return "no answer" if isinstance(answer, str) else f"{len(answer.hits)} results"


def _images(answer: SearchAnswer, others: Sequence[SearchAnswer]) -> str:
    cards = "".join(f"<li>{_card(hit, answer.score_kind, others)}</li>" for hit in answer.hits)
    warnings = "".join(f"⚠ {sentence} " for sentence in text_warnings(answer))
    return (
        f'<p class="note">{warnings}{escape(answer.explanation) or _KINDS[answer.score_kind]}</p>'
        f'<ol class="images">{cards}</ol><p class="scope">{_scope(answer)}</p>'
        f"{render_stages(answer.engine, answer.timings_ms)}"
    )


def _scope(answer: SearchAnswer) -> str:
    how = "exact search over" if answer.exact else "approximate search (ANN) over"
    among = f" of {answer.total:,}" if answer.searched != answer.total else ""
    return f"{how} {answer.searched:,}{among} images"


def _card(hit: ImageHit, kind: str, others: Sequence[SearchAnswer]) -> str:
    name = escape(hit.image.caption or hit.image.id)
    score = render_score(kind, hit.score)
    badge, meaning = _badge(hit, others)
    label = f"Rank {hit.rank}: {name}, {score}{meaning and f', {meaning}'}. Search by this image."
    return (
        f'<button type="button" data-action="select" data-id="{escape(hit.image.id)}"'
        f' data-rank="{hit.rank}" aria-label="{label}" title="{escape(hit.image.id)}">'
        f'<span class="picture"><img src="{data_uri(hit.image.thumbnail)}" alt="{name}">'
        f'<span class="rank">{hit.rank}</span>{badge}</span><span class="caption">{name}</span>'
        f'<span class="score">{render_bar(hit.score)}<span>{score}</span></span></button>'
    )


def _badge(hit: ImageHit, others: Sequence[SearchAnswer]) -> tuple[str, str]:
    """Return a badge that compares with the other models' results, and what it means."""
    if not others:
        return "", ""
    ranks = [each.rank for other in others for each in other.hits if each.image.id == hit.image.id]
    if not ranks:
        return '<span class="badge only">only here</span>', "not among the other model's results"
    change = min(ranks) - hit.rank
    meaning = f"rank {min(ranks)} with the other model"
    sign = f"▲{change}" if change > 0 else f"▼{-change}" if change < 0 else "="
    return f'<span class="badge" title="{meaning}">{sign}</span>', meaning


def _texts(answer: TextAnswer) -> str:
    rows = "".join(f"<li>{_row(hit, answer.score_kind)}</li>" for hit in answer.hits)
    note = "Probability that the text fits the image."
    if answer.score_kind == "cosine":
        note = "Cosine of the text with the image."
    return (
        f'<p class="note">{escape(answer.explanation) or note}</p><ol class="texts">{rows}</ol>'
        f'<p class="scope">{_compared(answer)}</p>{render_stages(answer.engine, answer.timings_ms)}'
    )


def _compared(answer: TextAnswer) -> str:
    """Return how many texts were compared, and that there are more."""
    among = f", those of {answer.left_out:,} images less like this one were not" if answer.left_out else ""
    were = "was" if answer.compared == 1 else "were"
    return f"{counted(answer.compared, 'text')} {were} compared{among}"


def _row(hit: TextHit, kind: str) -> str:
    text, score = escape(hit.text), render_score(kind, hit.score)
    label = f"Rank {hit.rank}: {text}, {score}. Search for images of this."
    return (
        f'<button type="button" data-action="select" data-text="{text}" aria-label="{label}">'
        f'<span class="words">{text}</span>'
        f'<span class="score">{render_bar(hit.score)}<span>{score}</span></span></button>'
    )
