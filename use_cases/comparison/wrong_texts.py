"""Mistakes in the preparation of texts: padding, the attention mask, lower case."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from engines.base import Tokens
from engines.models import ModelSpec
from engines.onnx.engine import GraphEngine
from engines.preparation.preprocess import Preprocessor, clean_text
from engines.worker.batched_engine import BatchedEngine
from use_cases.comparison.wrongs import Altered, Wrong

_LOWERING = ("lower", "canonicalize", "ftfy_lower", "ftfy_canonicalize")
_MULTIPLE = 8  # to which `pad_tokens` rounds lengths up


def wrong_texts(engine: BatchedEngine, prompts: Sequence[str]) -> list[Wrong]:
    """Return the mistakes that can be made with some prompts.

    Args:
        engine: with the right preprocessor.
        prompts: labels in their templates.
    """
    right = [engine.preprocessor.prepare_text(prompt) for prompt in prompts]
    return [
        _padded_to_longest(engine, right),
        _masked(engine.spec),
        _unmasked(engine.spec, right),
        _not_lowered(engine.preprocessor, prompts, right),
    ]


def _padded_to_longest(engine: BatchedEngine, right: Sequence[Tokens]) -> Wrong:
    spec = engine.spec
    text = (
        "padded_to_longest",
        "Padded to the longest text",
        "SigLIP reads a text at its last position, padding or not, so it needs the full length that it was"
        " trained with.",
    )
    if not spec.pad_to_context:
        reason = f"{spec.name} takes texts of any length, so that is how it was trained."
        return Wrong(*text, reason=reason)
    if isinstance(engine.engine, GraphEngine):
        reason = (
            f"The graph of {engine.engine.name} takes texts of exactly {spec.context_length} tokens, so the"
            " mistake is impossible; torch-fp32 can make it."
        )
        return Wrong(*text, reason=reason)
    longest = _longest(engine.preprocessor, right)
    length = min(-(-longest // _MULTIPLE) * _MULTIPLE, spec.context_length)
    if length == spec.context_length:
        return Wrong(*text, reason="The longest text fills the model's context, so there is nothing to add.")
    return Wrong(*text, Altered(tokens=[replace(tokens, ids=tokens.ids[:length]) for tokens in right]))


def _masked(spec: ModelSpec) -> Wrong:
    text = (
        "attention_mask",
        "Attention mask for SigLIP",
        "SigLIP was trained without a mask: its padding takes part in attention, and hiding it changes every"
        " text.",
    )
    if not spec.pad_to_context:
        return Wrong(*text, reason=f"{spec.name} was trained with a mask, so giving one is right.")
    return Wrong(
        *text,
        reason="The engines' text towers take no mask for this model, so the mistake cannot be made here.",
    )


def _unmasked(spec: ModelSpec, right: Sequence[Tokens]) -> Wrong:
    text = (
        "padding_unmasked",
        "Padding without a mask",
        "Without a mask padding counts as text: a tower that averages over its tokens averages it too, while"
        " CLIP's causal one never looks beyond the end of the text.",
    )
    if spec.pad_to_context:
        return Wrong(*text, reason=f"{spec.name} was trained without a mask, so there is none to forget.")
    length = spec.context_length
    ids = [(*tokens.ids, *[0] * (length - len(tokens.ids))) for tokens in right]
    return Wrong(*text, Altered(tokens=[Tokens(each, truncated=False) for each in ids]))


def _not_lowered(preprocessor: Preprocessor, prompts: Sequence[str], right: Sequence[Tokens]) -> Wrong:
    spec = preprocessor.spec
    text = (
        "not_canonicalised",
        "Texts not lower-cased",
        "SigLIP was trained on lower-case texts, its first version also without punctuation; other tokens"
        " mean little to it.",
    )
    if spec.text_cleaning not in _LOWERING:
        reason = f"{spec.name} takes texts as they are; what its tokenizer does to them cannot be left out."
        return Wrong(*text, reason=reason)
    if all(clean_text(prompt, spec) == prompt for prompt in prompts):
        return Wrong(*text, reason="The texts are lower-case without punctuation; try 'A Cat!'.")
    careless = copy.copy(preprocessor)  # shares the tokenizer, which may be large
    careless.spec = replace(spec, text_cleaning="none")
    wrong = [careless.prepare_text(prompt) for prompt in prompts]
    if wrong == list(right):
        return Wrong(*text, reason="The tokenizer makes the same tokens of these texts all the same.")
    return Wrong(*text, Altered(tokens=wrong))


def _longest(preprocessor: Preprocessor, texts: Sequence[Tokens]) -> int:
    """Return the tokens of the longest text without its padding."""
    nothing = preprocessor.prepare_text("").ids
    pad_id, pads_with_end = nothing[-1], len(set(nothing)) == 1  # SigLIP's end token is its padding, too
    own = [max((i for i, id_ in enumerate(text.ids, 1) if id_ != pad_id), default=0) for text in texts]
    return max(own) + pads_with_end
