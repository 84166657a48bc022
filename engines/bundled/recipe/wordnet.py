"""WordNet's nouns, read from the files of Debian's wordnet-base (format: wndb(5WN))."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_INSTANCE_AND_KIND = ("@", "@i")


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: its words (most usual first), its definition and the meanings above it."""

    offset: int  # byte offset in data.noun; ImageNet's "n" + eight digits is the same number
    words: tuple[str, ...]
    definition: str
    parents: tuple[int, ...]


class WordNet:
    """Look-ups among nouns; meanings of a word come most frequent first."""

    def __init__(self, folder: Path) -> None:
        """Read index.noun, data.noun and noun.exc from the dictionary folder."""
        self._folder = folder
        self.synsets = {synset.offset: synset for synset in self._read_synsets()}
        self._senses = dict(self._read_index())

    def _read_synsets(self) -> list[Synset]:
        synsets = []
        for line in (self._folder / "data.noun").read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue  # the licence
            facts, _, gloss = line.partition(" | ")
            fields = facts.split()
            num_words = int(fields[3], 16)
            words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * num_words : 2])
            pointers = fields[5 + 2 * num_words :]
            parents = tuple(
                int(pointers[i + 1])
                for i in range(0, len(pointers) - 3, 4)
                if pointers[i] in _INSTANCE_AND_KIND
            )
            synsets.append(
                Synset(int(fields[0]), words, gloss.split(";")[0].split('; "')[0].strip(), parents)
            )
        return synsets

    def _read_index(self) -> list[tuple[str, tuple[int, ...]]]:
        senses = []
        for line in (self._folder / "index.noun").read_text("utf-8").splitlines():
            if not line.startswith("  "):
                fields = line.split()
                senses.append((fields[0].replace("_", " "), tuple(int(f) for f in fields[-int(fields[2]) :])))
        return senses

    @cached_property
    def _exceptions(self) -> dict[str, str]:
        lines = (self._folder / "noun.exc").read_text("utf-8").splitlines()
        return {line.split()[0].replace("_", " "): line.split()[1].replace("_", " ") for line in lines}

    def lemma(self, word: str) -> str | None:
        """Return the singular noun that WordNet knows for a word or phrase, or None."""
        word = word.lower().strip()
        candidates = [word]
        if word in self._exceptions:
            candidates.append(self._exceptions[word])
        for plural, singular in (
            ("ies", "y"),
            ("ves", "f"),
            ("ses", "s"),
            ("xes", "x"),
            ("hes", "h"),
            ("s", ""),
        ):
            if word.endswith(plural) and len(word) > len(plural) + 2:
                candidates.append(word.removesuffix(plural) + singular)
        return next((candidate for candidate in candidates if candidate in self._senses), None)

    def senses(self, lemma: str) -> list[Synset]:
        """Return the meanings of a lemma, most frequent first."""
        return [self.synsets[offset] for offset in self._senses.get(lemma, ())]

    def ancestors(self, synset: Synset) -> list[Synset]:
        """Return the chain above a meaning, nearest first, following first parents."""
        chain = []
        while synset.parents:
            synset = self.synsets[synset.parents[0]]
            chain.append(synset)
        return chain

    def is_a(self, synset: Synset, word: str) -> bool:
        """Tell whether a meaning lies below (or is) a meaning that the word names."""
        if word in synset.words:
            return True
        return any(self.is_a(self.synsets[parent], word) for parent in synset.parents)
