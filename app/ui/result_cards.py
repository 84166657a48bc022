"""Draw classifications as HTML: a card for each model with bars, the time of each stage and raw numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from app.ui.html_parts import escape, render_warning
from use_cases.zero_shot import Classification, LabelScore

MAX_BARS = 20  # more labels than that are listed in the table only

EXPLANATIONS = {
    "sigmoid": "Sigmoid: each label is judged on its own, so none of them may fit.",
    "softmax": "Softmax: the labels compete and their probabilities add up to 100 %.",
}

_UNREAD = "Not made for these characters, which the model cannot tell apart"

EMPTY_STATE = """
<div class="empty-state">
  <p><strong>Drop a photo, then press Classify.</strong></p>
  <p>Or click one of the examples: each gives its answer at once.</p>
</div>
"""

CSS = """
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 16px; }
.card { border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg); padding: 16px;
        background: var(--background-fill-primary); color: var(--body-text-color); min-width: 0; }
.card h3 { margin: 0 0 2px; font-size: 1.05rem; color: var(--body-text-color); }
.card p.note { margin: 0 0 12px; font-size: .85rem; color: var(--body-text-color); opacity: .75; }
.card ol { list-style: none; margin: 0; padding: 0; }
.card li { margin: 0 0 8px; padding: 0; }
.card .row { display: flex; justify-content: space-between; gap: 12px; font-size: .95rem; }
.card .row span:first-child { overflow-wrap: anywhere; }
.card .row span:last-child { font-variant-numeric: tabular-nums; white-space: nowrap; }
.card .track { height: 8px; border-radius: 4px; background: var(--border-color-primary); overflow: hidden; }
.card .fill { height: 100%; border-radius: 4px; background: var(--color-accent); }
.card li.none { margin-top: 14px; padding-top: 10px; border-top: 1px dashed var(--border-color-primary); }
.card li.none .fill { background: var(--body-text-color-subdued); }
.card details { margin-top: 12px; font-size: .85rem; }
.card summary { cursor: pointer; color: var(--body-text-color); opacity: .75; }
.card .scroll { overflow-x: auto; max-height: 320px; overflow-y: auto; }
.card table { width: 100%; border-collapse: collapse; margin-top: 6px; font-variant-numeric: tabular-nums; }
.card th, .card td { padding: 3px 6px; text-align: right; color: var(--body-text-color); border: 0;
                     border-bottom: 1px solid var(--border-color-primary); background: none; }
.card th:first-child, .card td:first-child { text-align: left; overflow-wrap: anywhere; }
.card .stages { display: flex; flex-wrap: wrap; gap: 4px 12px; margin-top: 12px; font-size: .8rem;
                color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.card .stages span { opacity: .75; }
.card .warning { margin-top: 8px; font-size: .85rem; color: var(--body-text-color); }
.empty-state { border: 1px dashed var(--border-color-primary); border-radius: var(--radius-lg);
               padding: 32px 16px; text-align: center; color: var(--body-text-color); }
"""


def render_cards(
    classifications: Sequence[Classification], failures: Mapping[str, Exception] = MappingProxyType({})
) -> str:
    """Return the HTML of one card a model, in the given order, then of those that could not answer."""
    cards = [*map(_card, classifications), *(_failure(*failure) for failure in failures.items())]
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(result: Classification) -> str:
    best = result.scores[0]
    bars = [_bar(score.label, score.score) for score in result.scores[:MAX_BARS]]
    if len(result.scores) > MAX_BARS:
        bars.append(f"<li>and {len(result.scores) - MAX_BARS} more labels below that</li>")
    if result.none_of_these is not None:
        bars.append(_bar("none of these", result.none_of_these, css_class="none"))
    return f"""
<section class="card" aria-label="{escape(result.model)}: {escape(best.label)}">
  <h3>{escape(result.model)}</h3>
  <p class="note">{EXPLANATIONS[result.score]}</p>
  <ol>{"".join(bars)}</ol>
  {render_warning("Too long for the model, which read only the beginning", result.truncated, "warning")}
  {render_warning(_UNREAD, result.unread, "warning")}
  {_numbers(result.scores)}
  {_stages(result)}
</section>"""


def _failure(model: str, error: Exception) -> str:
    return f"""
<section class="card" aria-label="{escape(model)}: no answer">
  <h3>{escape(model)}</h3>
  <p class="warning">⚠ {escape(str(error))}</p>
</section>"""


def _bar(label: str, score: float, css_class: str = "label") -> str:
    percent = 100 * score
    return (
        f'<li class="{css_class}">'
        f'<div class="row"><span>{escape(label)}</span><span>{percent:.1f} %</span></div>'
        f'<div class="track"><div class="fill" style="width: {percent:.1f}%"></div></div></li>'
    )


def _numbers(scores: Sequence[LabelScore]) -> str:
    rows = "".join(
        f"<tr><td>{escape(score.label)}</td><td>{score.cosine:.4f}</td><td>{score.logit:.2f}</td>"
        f"<td>{score.score:.4f}</td></tr>"
        for score in scores
    )
    head = "<tr><th>label</th><th>cosine</th><th>logit</th><th>score</th></tr>"
    return (
        "<details><summary>Raw cosines and logits</summary>"
        f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div></details>'
    )


def _stages(result: Classification) -> str:
    parts = "".join(f"<span>{stage} {ms:.1f}</span>" for stage, ms in result.timings_ms.items())
    state = "cold start" if result.cold else "warm"
    labels = ", labels known" if result.labels_cached else ""
    total_ms = sum(result.timings_ms.values())
    return (
        f'<div class="stages" title="milliseconds per stage"><strong>{total_ms:.0f} ms</strong>'
        f"<span>{state}{labels}</span><span>{escape(result.engine)}</span>{parts}</div>"
    )
