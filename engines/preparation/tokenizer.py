"""Load a model's tokenizer from its own files, without transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from engines.base import Tokens
from engines.errors import BackendUnavailableError, EngineError, InvalidInputError
from engines.models import ModelSpec

Tokenizer: TypeAlias = Callable[[str], Tokens]


def load_tokenizer(spec: ModelSpec) -> Tokenizer:
    """Return a function from cleaned text to tokens; it may be called from any thread.

    Raises:
        BackendUnavailableError: when a tower package or the sentencepiece package is missing.
        InvalidInputError: when the checkpoint folder has no usable tokenizer.
    """
    folder = spec.folder
    if spec.family == "bundled":
        from engines.bundled.towers import locate_tower

        folder = locate_tower("all-MiniLM-L6-v2")
    if spec.tokenizer == "clip_bpe":
        from engines.preparation.clip_bpe import load_clip_bpe

        return _encoder(load_clip_bpe(), 0, spec)  # open_clip pads with zeros, whatever token that is
    # SigLIP's slow tokenizer is the reference: its tokenizer.json, where there is one, neither
    # canonicalizes nor agrees with it on whitespace, so spiece.model goes first.
    try:
        if (folder / "spiece.model").exists():
            return _load_sentencepiece(folder / "spiece.model", spec)
        if (folder / "tokenizer.json").exists():
            return _load_tokenizers(folder, spec)
    except EngineError:
        raise
    except Exception as error:  # both libraries raise bare Exceptions and RuntimeErrors on damaged files
        raise InvalidInputError(f"The tokenizer in {folder} cannot be read ({error}).") from error
    raise InvalidInputError(
        f"{folder} has neither a tokenizer.json nor a spiece.model; add the model's tokenizer."
    )


def _load_tokenizers(folder: Path, spec: ModelSpec) -> Tokenizer:
    from tokenizers import Tokenizer as FastTokenizer

    tokenizer = FastTokenizer.from_file(str(folder / "tokenizer.json"))
    pad_id = _pad_id(folder, tokenizer.token_to_id) if spec.pad_to_context else None
    return _encoder(tokenizer, pad_id, spec)


def _encoder(tokenizer: Any, pad_id: int | None, spec: ModelSpec) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.context_length)

    unknown_id = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "")
    if unknown_id in tokenizer.encode("").ids:  # CLIP's is the token that ends every text, and never used
        unknown_id = None

    def tokenize(text: str) -> Tokens:
        encoding = tokenizer.encode(text)
        ids = encoding.ids
        return Tokens(
            _padded(ids, pad_id, spec), truncated=bool(encoding.overflowing), unknown=unknown_id in ids
        )

    return tokenize


def _load_sentencepiece(path: Path, spec: ModelSpec) -> Tokenizer:
    """Encode as transformers' SiglipTokenizer does: pieces, then one end-of-sequence token."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise BackendUnavailableError(
            "SigLIP's tokenizer needs the package sentencepiece: pip install sentencepiece."
        ) from None

    processor = SentencePieceProcessor(model_file=str(path))
    eos_id = processor.eos_id()
    pad_id = _pad_id(path.parent, processor.piece_to_id, processor.unk_id()) if spec.pad_to_context else None

    def tokenize(text: str) -> Tokens:
        ids = processor.encode(text)
        kept = [*ids[: spec.context_length - 1], eos_id]
        return Tokens(
            _padded(kept, pad_id, spec),
            truncated=len(ids) >= spec.context_length,
            unknown=processor.unk_id() in kept,
        )

    return tokenize


def _padded(ids: list[int], pad_id: int | None, spec: ModelSpec) -> tuple[int, ...]:
    if pad_id is None:
        return tuple(ids)
    return (*ids, *[pad_id] * (spec.context_length - len(ids)))


def _pad_id(folder: Path, token_to_id: Callable[[str], int | None], unk_id: int | None = None) -> int:
    """Return the id of the padding token that tokenizer_config.json names ("</s>" for SigLIP)."""
    path = folder / "tokenizer_config.json"
    token = (json.loads(path.read_text("utf-8")).get("pad_token") if path.exists() else None) or "</s>"
    if isinstance(token, dict):  # an AddedToken written out
        token = token["content"]
    pad_id = token_to_id(token)
    if pad_id is None or pad_id == unk_id:
        raise InvalidInputError(
            f"{path} names the padding token {token!r}, which the tokenizer does not know."
        )
    return pad_id
