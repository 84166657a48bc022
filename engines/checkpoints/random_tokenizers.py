"""Tokenizers for checkpoints with random weights: real classes and formats, trained on a few sentences.

What the sentences lack is filled up with pieces that no text contains, so that a vocabulary has the
size of a published one. Common words of captions are one token each, as they are there, because the
number of tokens decides how long CLIP's text tower takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

SENTENCES = (
    "a photo of a cat",
    "a photo of a dog",
    "this is a photo of a lion in the grass",
    "two red buses in a street",
    "a cup of coffee on a wooden table",
    "a rocket on its launch pad at night",
    "an astronaut, smiling, with her helmet",
    "the quick brown fox jumps over the lazy dog",
    "a motorcycle in a garage",
    "old coins from pompeii",
)
_MORE_SENTENCES = (
    "a black and white drawing of three people who look at the sea",
    "a woman and a man in a dark coat stand in front of a house",
    "children play with a green ball near some trees in the park",
    "a small blue bird sits on a branch, seen from very close",
    "a plate of food with fruit, bread and cheese on the kitchen table",
    "a page of printed text, a letter, a sign, a map and a screen",
    "snow on mountains and clouds in the sky over a lake in winter",
    "a yellow flower with large leaves and a bee in the garden",
    "an orange boat by the river, a bridge and the city behind it",
    "numbers 0 1 2 3 4 5 6 7 8 9, and then: what is it? it is this!",
)
# As in the published tokenizer_config.json files: SigLIP was trained with its padding in sight.
_NO_MASK: Mapping[str, Any] = MappingProxyType({"model_input_names": ["input_ids"]})
_CLIP_SPECIALS = ("<|startoftext|>", "<|endoftext|>")  # the last two of the vocabulary
_GEMMA_SPECIALS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")


def save_sentencepiece(folder: Path, max_length: int, vocab_size: int) -> None:
    """Write SigLIP's tokenizer: sentencepiece, unigram; a small vocabulary needs the first sentences only."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from transformers import SiglipTokenizer

    small = vocab_size < 200
    sentences = SENTENCES if small else SENTENCES + _MORE_SENTENCES
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=vocab_size if small else 500,
        hard_vocab_limit=small,
        model_type="unigram",
        pad_id=-1,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        eos_piece="</s>",
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    path = folder / "spiece.model"
    model_format: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    model = model_format.ModelProto.FromString(path.read_bytes())
    lowest = min(piece.score for piece in model.pieces)
    for piece in _fillers(vocab_size - len(model.pieces)):
        model.pieces.add(piece=piece, score=lowest - 1)
    model.trainer_spec.model_prefix = "spiece"  # instead of a path of this machine
    path.write_bytes(model.SerializeToString())
    SiglipTokenizer(str(path), model_max_length=max_length, **_NO_MASK).save_pretrained(folder)


def save_clip_bpe(folder: Path, max_length: int, vocab_size: int) -> None:
    """Write CLIP's tokenizer: byte-level pairs, each word closed by "</w>"; the last token ends a text."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    alphabet = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = _learn_merges(end_of_word="</w>", most=vocab_size - len(alphabet) - len(_CLIP_SPECIALS))
    vocab = _vocabulary([*alphabet, *("".join(merge) for merge in merges)], vocab_size, last=_CLIP_SPECIALS)
    tokenizer_class: Any = CLIPTokenizer  # its annotations allow less than it takes
    tokenizer_class(vocab=vocab, merges=merges, model_max_length=max_length).save_pretrained(folder)


def save_gemma_bpe(folder: Path, max_length: int, vocab_size: int) -> None:
    """Write SigLIP 2's tokenizer: Gemma's, pairs of letters with bytes for what is unknown, then "<eos>"."""
    from transformers import GemmaTokenizer

    merges = _learn_merges(end_of_word=None, most=1_000)
    letters = sorted({letter for sentence in SENTENCES + _MORE_SENTENCES for letter in sentence} - {" "})
    pieces = [
        *_GEMMA_SPECIALS,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *letters,
        *("".join(merge) for merge in merges),
    ]
    tokenizer_class: Any = GemmaTokenizer
    tokenizer_class(
        vocab=_vocabulary(pieces, vocab_size),
        merges=merges,
        model_max_length=max_length,
        padding_side="right",
        add_bos_token=False,
        add_eos_token=True,
        **_NO_MASK,
    ).save_pretrained(folder)


def _learn_merges(end_of_word: str | None, most: int) -> list[tuple[str, str]]:
    """Return byte-pair merges of the sentences' words, the most frequent first."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.trainers import BpeTrainer

    options: dict[str, Any] = {"end_of_word_suffix": end_of_word} if end_of_word else {}
    tokenizer = Tokenizer(BPE(**options))
    tokenizer.pre_tokenizer = Whitespace()
    trainer = BpeTrainer(vocab_size=30_000, show_progress=False, **options)
    tokenizer.train_from_iterator(SENTENCES + _MORE_SENTENCES, trainer)
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return [(left, right) for left, right in model["merges"][:most]]


def _vocabulary(pieces: Sequence[str], size: int, last: Sequence[str] = ()) -> dict[str, int]:
    """Number the pieces, then fillers, then the last ones, each once."""
    unique = list(dict.fromkeys(pieces))
    fillers = _fillers(size - len(unique) - len(last))
    return {piece: index for index, piece in enumerate([*unique, *fillers, *last])}


def _fillers(count: int) -> Iterator[str]:
    """Yield pieces that no text contains: a control character of the private area and a number."""
    return (f"\ue000{index}" for index in range(count))
