"""List the captioned pictures of every source: file, source, style, captions and concept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from engines.bundled.recipe.wordnet import WordNet

_ARTICLE = re.compile(r"^(an?|the|some|two|three|a pair of|a couple of)\s+", re.IGNORECASE)
_SKIN_TONE = re.compile(r"-(light|medium-light|medium|medium-dark|dark)$")
_OPENCLIPART_SKIPPED = (  # no nameable things: buttons, logos, patterns, playing cards, flags, file types
    "buttons", "special", "logos", "shapes", "decorations", "geography", "signs_and_symbols/flags",
    "signs_and_symbols/led", "recreation/games/cards", "computer/icons", "computer/buttons",
    "computer/folders",
    "computer/diagrams", "unsorted/duplicates", "people/smilies", "electronics/battery",
)  # fmt: skip
_EMOJI_SKIPPED = ("Flags", "Symbols", "Component")
_STAMPS_SKIPPED = ("symbols/alphabets", "symbols/math", "symbols/money", "town/flags", "symbols/music")
_MAX_BYTES = 600_000  # larger ones are posters of up to 230 megapixels
_GENERIC = {
    "clipart", "icon", "icons", "symbol", "symbols", "image", "drawing", "picture", "set", "sign", "color",
    "outline", "contour", "silhouette", "black", "white", "red", "blue", "green", "yellow", "simple",
    "architetto", "title",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One captioned picture."""

    path: str
    source: str
    photo: bool  # a photograph (cut out), not a drawing
    captions: tuple[str, ...]  # the first is the most exact
    concept: str  # one lemma; what the held-out split is made of

    @property
    def key(self) -> str:
        """Name the picture independently of where the work folder lies."""
        return self.path.rsplit("/unpacked/", 1)[-1]


def list_items(folders: dict[str, Path], wordnet: WordNet) -> list[Item]:
    """List all usable pictures, in a fixed order."""
    items = [
        *_stamps(folders["tuxpaint-stamps-default"] / "usr/share/tuxpaint/stamps", wordnet),
        *_openclipart(folders["openclipart-png"] / "usr/share/openclipart/png", wordnet),
        *_emoji(folders["emoji-datasource-google"] / "package", "google", wordnet),
        *_emoji(folders["emoji-datasource-twitter"] / "package", "twitter", wordnet),
        *_fluent(folders, wordnet),
    ]
    return sorted(items, key=lambda item: (item.source, item.path))


def concept_of(phrase: str, wordnet: WordNet) -> str | None:
    """Return the longest noun that ends the phrase's first noun group: "a sumatran tiger" -> "tiger"."""
    words = re.sub(r"[^a-z' -]", " ", _ARTICLE.sub("", phrase.lower().strip())).split()
    for stop in (
        "with",
        "of",
        "in",
        "on",
        "for",
        "from",
        "and",
        "playing",
        "wearing",
        "at",
        "to",
        "is",
        "which",
    ):
        if stop in words[1:]:
            words = words[: words.index(stop, 1)]
    for start in range(len(words)):
        lemma = wordnet.lemma(" ".join(words[start:]))
        if lemma is not None and len(lemma) > 2:
            return lemma
    return None


def _stamps(folder: Path, wordnet: WordNet) -> Iterator[Item]:
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        text = path.with_suffix(".txt")
        if path.suffix not in (".png", ".svg") or place.startswith(_STAMPS_SKIPPED) or not text.exists():
            continue
        if path.suffix == ".svg" and path.with_suffix(".png").exists():
            continue
        caption = text.read_text("utf-8").splitlines()[0].strip()
        sentence = re.split(r"[.!?(—“]", caption)[0].strip()
        concept = concept_of(sentence, wordnet)
        if concept is None:
            continue
        photo = (
            path.suffix == ".png"
            and "cartoon" not in place
            and not place.startswith(("symbols", "town/roadsigns"))
        )
        short = _ARTICLE.sub("", sentence).lower()
        captions = tuple(dict.fromkeys(c for c in (short, concept, caption.lower()) if c))
        yield Item(path=str(path), source="stamps", photo=photo, captions=captions, concept=concept)


def _openclipart(folder: Path, wordnet: WordNet) -> Iterator[Item]:
    for path in sorted(folder.rglob("*.png")):
        place = path.relative_to(folder).as_posix()
        if path.is_symlink() or place.startswith(_OPENCLIPART_SKIPPED) or path.stat().st_size > _MAX_BYTES:
            continue
        with Image.open(path) as image:
            title, author = str(image.info.get("Title", "")), str(image.info.get("Author", ""))
        phrases = [_phrase_of_title(title), _phrase_of_name(path.stem, author)]
        named = [(p, c) for p in phrases if p and (c := _known(p, wordnet))]
        if not named:
            continue
        captions = tuple(dict.fromkeys([p for p, _ in named] + [c for _, c in named]))
        yield Item(path=str(path), source="openclipart", photo=False, captions=captions, concept=named[0][1])


def _known(phrase: str, wordnet: WordNet) -> str | None:
    concept = concept_of(phrase, wordnet)
    if concept is None or concept in _GENERIC or len(phrase.split()) > 5:
        return None
    senses = wordnet.senses(concept)
    return concept if wordnet.is_a(senses[0], "physical entity") else None


def _phrase_of_title(title: str) -> str:
    words = re.sub(r"[^a-zA-Z' ]", " ", title.replace("_", " ")).lower().split()
    return " ".join(word for word in words if word not in _GENERIC)


def _phrase_of_name(stem: str, author: str) -> str:
    """Drop numbers and the author's (often cut) name from a file name."""
    authors = re.split(r"[^a-z]+", author.lower())
    words = re.sub(r"[^a-z']", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", stem).lower()).split()
    kept = []
    for word in words:
        if any(name.startswith(word) for name in authors if name) or word in _GENERIC:
            break
        kept.append(word)
    return " ".join(kept)


def _emoji(folder: Path, vendor: str, wordnet: WordNet) -> Iterator[Item]:
    for emoji in json.loads((folder / "emoji.json").read_text("utf-8")):
        path = folder / "img" / vendor / "64" / emoji["image"]
        if emoji["category"] in _EMOJI_SKIPPED or not path.exists():
            continue
        name = re.sub(r"\(.*\)", "", emoji["name"].lower()).replace(" face", " face").strip()
        shorts = [short.replace("_", " ").replace("-", " ") for short in emoji["short_names"]]
        shorts = [short for short in shorts if re.fullmatch(r"[a-z ]{3,}", short)]
        captions = tuple(dict.fromkeys([*shorts, name]))
        concept = next((c for text in captions if (c := concept_of(text, wordnet))), None)
        if concept is not None:
            yield Item(path=str(path), source=vendor, photo=False, captions=captions, concept=concept)


def _fluent(folders: dict[str, Path], wordnet: WordNet) -> Iterator[Item]:
    """Fluent's three drawn styles, only of names that are nouns and only in the default skin tone."""
    for style in ("flat", "modern", "high-contrast"):
        for path in sorted((folders["fluentui-emoji"] / "package/icons" / style).glob("*.svg")):
            if _SKIN_TONE.search(path.stem) or path.stem.startswith("flag-") or "button" in path.stem:
                continue
            name = path.stem.removesuffix("-default").replace("-", " ")
            concept = concept_of(name, wordnet)
            if concept is not None:
                captions = tuple(dict.fromkeys([name, concept]))
                yield Item(
                    path=str(path), source=f"fluent-{style}", photo=False, captions=captions, concept=concept
                )
