"""Write the model card from measured metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.bundled.recipe.sources import DEBIAN_SOURCES, EVALUATION_SOURCES, NPM_SOURCES

_ROWS = (
    ("animals_top1", "photographed animals, top-1"),
    ("animals_top5", "photographed animals, top-5"),
    ("objects_top1", "photographed objects, top-1"),
    ("objects_top5", "photographed objects, top-5"),
    ("drawings_top1", "drawings and emoji among 80 names, top-1"),
    ("drawings_top5", "drawings and emoji among 80 names, top-5"),
    ("text_to_image_recall_at_1", "text to image, recall@1"),
    ("text_to_image_recall_at_5", "text to image, recall@5"),
    ("image_to_text_recall_at_1", "image to text, recall@1"),
    ("image_to_text_recall_at_5", "image to text, recall@5"),
)

_FOREIGN_ROWS = (
    ("animals_top1", "photographed animals, top-1"),
    ("animals_top5", "photographed animals, top-5"),
    ("objects_top1", "photographed objects and tools, top-1"),
    ("objects_top5", "photographed objects and tools, top-5"),
)

_KNOWN_ROWS = (
    ("known_animals_top1", "photographed animals, top-1"),
    ("known_animals_top5", "photographed animals, top-5"),
    ("known_objects_top1", "photographed objects, top-1"),
    ("known_objects_top5", "photographed objects, top-5"),
    ("known_drawings_top1", "drawings and emoji among 80 names, top-1"),
    ("known_drawings_top5", "drawings and emoji among 80 names, top-5"),
)


def render_card(metrics: Mapping[str, Any]) -> str:
    """Render MODEL_CARD.md; every number in it comes from the metrics."""
    parts = (_intro, _results, _known, _foreign, _photos, _data)
    return "\n\n".join([*(part(metrics) for part in parts), _limits()]) + "\n"


def _intro(metrics: Mapping[str, Any]) -> str:
    plan = metrics["plan"]
    text_hidden = plan["text_hidden"]
    text_head = f"an MLP of {text_hidden} units added to" if text_hidden else "the identity on"
    num_runs = plan["num_members"]
    return f"""# siglit-mini and lit-mini

Two small dual encoders for images and texts that differ in their loss only: `siglit-mini` is trained
with the sigmoid loss of SigLIP, `lit-mini` with the softmax loss of CLIP, both over locked towers as in
SigLiT and LiT (arXiv 2303.15343 and 2111.07991). They let the demo run without a model hub. They are no
SigLIP and no CLIP: they know what their towers knew, and a little more about drawings.

- **Image tower, locked**: EfficientNet-Lite0 and -Lite2 (ImageNet-1k, Apache-2.0) side by side at
  260 x 260 pixels; features of the last four stages and the top, and the mean of both class logits.
- **Resizing**: at most a fifth of the long side is cut off, then the image is padded to a square
  (`crop_pad`). Padding alone makes the subject of a wide photograph small; a centre crop alone loses
  the ends of long things.
- **Text tower, locked**: all-MiniLM-L6-v2 (Apache-2.0), 384 numbers per text.
- **Trained**: the image head, a table with a place in the text space for each ImageNet class (mixed by
  the classifier's own sharpened probabilities) plus an MLP of {num_runs} x {plan["hidden"]} units on the
  features; the text head, {text_head} the sentence embedding; scale and bias. {num_runs} runs that differ
  in their seed are joined into one head, which averages what they compute.
- **Budget, equal for both**: {num_runs} runs of {plan["num_steps"]} steps of {plan["batch_size"]} pairs, with
  AdamW.
- **Licence of the heads**: Apache-2.0."""


def _results(metrics: Mapping[str, Any]) -> str:
    labels = metrics["labels_per_fold"]
    lines = [
        "## Held-out concepts",
        "",
        "Five folds by concept: pictures are measured only by models that saw no picture of their concept,",
        "none whose caption names it or whose own noun can mean it, and none that looks like it (at",
        f"most 6 of 64 bits of a difference hash apart). Mean over {metrics['num_seeds']} seeds of the mean",
        "over the folds, with the half-width of the 95 % interval over the seeds (Student's t; it does not",
        f"cover the choice of pictures). A fold has {labels['animals']} animal names, {labels['objects']}",
        f"object names and {labels['retrieval']} texts and pictures for retrieval. The pictures are cut-outs",
        "on white.",
        "",
        "| task | class table, untrained | siglit-mini | lit-mini |",
        "|---|---|---|---|",
    ]
    for key, title in _ROWS:
        cells = [f"{metrics['untrained'][key]:.3f}"]
        for name in ("siglit-mini", "lit-mini"):
            value = metrics["held_out"][name][key]
            cells.append(f"{value['mean']:.3f} ± {value['half_width_95']:.3f}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", "The shipped heads are trained by the same plan on all concepts (seed 0)."]
    return "\n".join(lines)


def _known(metrics: Mapping[str, Any]) -> str:
    labels = metrics["labels_per_fold"]
    lines = [
        "## Known concepts, unseen pictures",
        "",
        "Five folds by picture, one seed: the models met the concepts, but neither the pictures nor any",
        "look-alike (at most 6 of 64 bits of a difference hash apart). Few photographs are left: a fold has",
        f"{labels['known_animals']} animal names and {labels['known_objects']} object names. An emoji may be",
        "known in another vendor's drawing.",
        "",
        "| task | class table, untrained | siglit-mini | lit-mini |",
        "|---|---|---|---|",
    ]
    for key, title in _KNOWN_ROWS:
        found = [metrics["untrained"], *(metrics["known_concepts"][n] for n in ("siglit-mini", "lit-mini"))]
        lines.append(f"| {title} | {' | '.join(f'{values[key]:.3f}' for values in found)} |")
    return "\n".join(lines)


def _foreign(metrics: Mapping[str, Any]) -> str:
    counts, source = metrics["foreign_counts"], EVALUATION_SOURCES[0]
    animals, objects = (
        f"{counts[group]['photos']} photographs among {counts[group]['names']} names"
        for group in ("animals", "objects")
    )
    lines = [
        "## Photographs from a source that training never saw",
        "",
        f"The photographs of {source.name} {source.version}, whole and with their grounds, none of them a",
        f"look-alike of a training picture, by the shipped heads: animals, {animals};",
        f"objects and tools, {objects}. A name counts once, however many photographs",
        "it has. One animal more or less is about four points.",
        "",
        "| task | class table, untrained | siglit-mini | lit-mini |",
        "|---|---|---|---|",
    ]
    for key, title in _FOREIGN_ROWS:
        found = [metrics["foreign"][name][key] for name in ("untrained", "siglit-mini", "lit-mini")]
        lines.append(f"| {title} | {' | '.join(f'{value:.3f}' for value in found)} |")
    return "\n".join(lines)


def _photos(metrics: Mapping[str, Any]) -> str:
    lines = [
        "## Single photographs nobody trained on",
        "",
        "Pictures from the packages gradio and scikit-image among the ordinary labels of `recipe/photos.py`:",
        "the best label and its score.",
        "",
        "| picture | siglit-mini (sigmoid) | lit-mini (softmax) |",
        "|---|---|---|",
    ]
    for group in ("named", "none_of_these"):
        for file in metrics["photos"]["siglit-mini"][group]:
            found = [metrics["photos"][name][group][file] for name in ("siglit-mini", "lit-mini")]
            cells = " | ".join(f"{f['best_label']} {f['score']:.2f}" for f in found)
            lines.append(f"| {file}{' (none of the labels)' if group != 'named' else ''} | {cells} |")
    return "\n".join(lines)


def _data(metrics: Mapping[str, Any]) -> str:
    counts = metrics["pictures"]
    lines = [
        "## Training data",
        "",
        f"{sum(counts.values())} pictures\n({', '.join(f'{n} {s}' for s, n in counts.items())}),",
        "each drawn on varied grounds, and pseudo-pairs from the image tower's classifier: a real view,",
        "moved by the smallest step that makes the classifier see another class, with its names and those",
        "of the meanings above it in WordNet. Look-alikes of the photographs above are left out.",
        "The pictures are not shipped.",
        "",
    ]
    lines += [f"- {s.name} {s.version} ({s.license})" for s in DEBIAN_SOURCES + NPM_SOURCES]
    lines += [
        "",
        "Rebuild with `python -m engines.bundled.recipe` (needs `recipe/requirements.txt`, apt-get and npm).",
    ]
    return "\n".join(lines)


def _limits() -> str:
    return """## Limits

- English nouns only; counting, relations, actions, colours, writing and identity are beyond these models.
- Photographs of things outside ImageNet's 1000 classes and drawings in unusual styles are often missed.
- Scale and bias are fitted on lists in which one label is right; with near-synonyms in the list several
  sigmoid scores may be high, and a texture may still resemble something that the classifier knows.
- Not for decisions about people."""
