"""The same words as others would have written them down: captions in capitals, transcribers, recognisers that mishear."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

_SPELLINGS = (("tch", "s"), ("ph", "f"), ("ck", "k"), ("gh", ""), ("kn", "n"), ("wr", "r"), ("wh", "w"), ("th", "d"))
_ALIKE = str.maketrans("bpvfcqgkxzsjdtmn", "ppffkkkksssstt" + "nn")
_NEGATIONS = re.compile(r"\b(no|not|never|nothing|nobody|none|hardly|cannot|\w+n'?t)\b")
_FILLERS = ("the", "a", "and", "uh", "it", "to")
_SEEN = 2
"""How often a word must occur to be what a recogniser takes another for: rarer ones are names and misspellings."""
DROPPED, REPEATED = 0.3, 0.05
"""Shares of the errors; the rest takes one word for another, which recognisers do about twice as often as they lose one."""


def as_sentence(text: str) -> str:
    """A text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + "."


def as_caption(text: str) -> str:
    """A text in capitals without punctuation or apostrophes, as MOSI has them."""
    return re.sub(r"[^\w\s]", "", text).strip().upper()


def with_less_punctuation(text: str) -> str:
    """A text without punctuation inside, and without signs of feeling at its end; apostrophes and question marks stay."""
    return re.sub(r"[^\w\s'?]", "", text).strip()


class TranscriptionErrors:
    """Errors of the kinds that recognisers make, with words of `texts` in place of others that sound alike.

    A stand-in for real transcripts, which need the sound: MOSI and MELD come here without it.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts = Counter(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
        self._sounding: defaultdict[str, list[str]] = defaultdict(list)
        for word, count in counts.items():
            if count >= _SEEN:
                self._sounding[sound_of(word)].append(word)

    def __call__(self, text: str, rate: float, random_of: random.Random, *, keep_negations: bool = False) -> str:
        """The text with about the share `rate` of its words changed, dropped or repeated; never without any word.

        `keep_negations` spares the words without which a text means the opposite, so that a label stays true in training.
        """
        heard: list[str] = []
        for word in text.split():
            bare = re.sub(r"[^a-z']", "", word.lower())
            if random_of.random() >= rate or (keep_negations and _NEGATIONS.fullmatch(bare)):
                heard.append(word)
                continue
            kind = random_of.random()
            if kind < DROPPED:
                continue
            heard.append(word if kind < DROPPED + REPEATED else self._misheard(bare, random_of))
            if kind < DROPPED + REPEATED:
                heard.append(word)
        return " ".join(heard) or text

    def _misheard(self, word: str, random_of: random.Random) -> str:
        """A word that sounds alike; where none is known a part of the word, or a filler."""
        alike = [other for other in self._sounding.get(sound_of(word), ()) if other != word]
        if alike:
            return random_of.choice(alike)
        return word[: random_of.randint(2, len(word) - 1)] if len(word) > 4 else random_of.choice(_FILLERS)


def sound_of(word: str) -> str:
    """A key that words which sound alike share: the first sound, then consonants, voiced and voiceless ones taken as one."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    for spelt, sounding in _SPELLINGS:
        letters = letters.replace(spelt, sounding)
    first = re.sub("[aeiouyh]", "a", letters[:1])
    return re.sub(r"(.)\1+", r"\1", (first + re.sub("[aeiouyhw]", "", letters[1:])).translate(_ALIKE))
