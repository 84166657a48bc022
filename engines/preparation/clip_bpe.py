"""CLIP's byte-pair tokenizer from the vocabulary that ships in open_clip's package, without importing it."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

from engines.errors import BackendUnavailableError

_FILE_NAME = "bpe_simple_vocab_16e6.txt.gz"
_START, _END = "<start_of_text>", "<end_of_text>"
_VOCABULARY_SIZE = 49408
_NUM_MERGES = _VOCABULARY_SIZE - 2 * 256 - 2  # the file has more, which CLIP never used
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def load_clip_bpe() -> Any:
    """Build the tokenizer with the tokenizers library.

    Raises:
        BackendUnavailableError: when open_clip is not installed.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors

    merges = _read_merges(_locate())
    letters = _byte_letters()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, _START, _END])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (_START, _END)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(f"(?i){_WORDS}"), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}",
        special_tokens=[(token, vocabulary[token]) for token in (_START, _END)],
    )
    return tokenizer


def _locate() -> Path:
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise BackendUnavailableError(
            "CLIP's tokenizer comes with the package open_clip_torch: pip install open_clip_torch."
        )
    return Path(spec.origin).parent / _FILE_NAME


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    pairs = [line.split() for line in lines[1 : _NUM_MERGES + 1]]  # the first line is a version
    return [(left, right) for left, right in pairs]


def _byte_letters() -> list[str]:
    """Return the printable letter that stands for each byte, in the order of CLIP's vocabulary.

    Printable bytes stand for themselves and come first; the others get the letters from 256 on.
    """
    ranges = (("!", "~"), ("¡", "¬"), ("®", "ÿ"))
    printable = [code for first, last in ranges for code in range(ord(first), ord(last) + 1)]
    return [chr(code) for code in [*printable, *range(256, 512 - len(printable))]]
