"""What the text encoder is trained on: states of texts below its adapters, in the ways that texts are written down."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from operators.datasets.meld import Utterances
from operators.datasets.mosi import Opinions
from operators.encoders.minilm import PackedMiniLM, run
from operators.encoders.text import MOST_TOKENS, text_tokenizer
from operators.training.progress import Track, silently
from operators.training.text_variants import TranscriptionErrors, as_caption, as_sentence, with_less_punctuation

MOST_ERRORS = 0.25
"""Highest share of wrong words in training: recognisers of the size that ships get up to a quarter of hard speech wrong."""
PLAIN_WITH_ERRORS = 0.5
"""Share of the texts with errors that has its punctuation."""


class WrittenTexts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Texts, each in several ways: `ways` holds lists of equal length, the first as a transcriber writes."""

    ways: tuple[list[str], ...]


def written_opinions(opinions: Opinions, errors: TranscriptionErrors, *, seed: int = 0) -> WrittenTexts:
    """MOSI's texts as sentences, bare, as captions, and four times with errors."""
    plain = opinions.texts
    sentences = [as_sentence(text) for text in plain]
    captions = [as_caption(text) for text in plain]
    rng = random.Random(seed)
    wrong = [with_errors(texts, errors, rng) for texts in (sentences, plain, sentences, plain)]
    return WrittenTexts(ways=(sentences, plain, captions, *wrong))


def written_utterances(utterances: Utterances, errors: TranscriptionErrors, *, seed: int = 0) -> WrittenTexts:
    """MELD's texts as they are, with less or without punctuation, and with errors."""
    plain = utterances.texts
    rng = random.Random(seed)
    bare = [with_less_punctuation(text) if rng.random() < 0.5 else as_caption(text) for text in plain]
    spoilt = [text if rng.random() < PLAIN_WITH_ERRORS else as_caption(text) for text in plain]
    return WrittenTexts(ways=(plain, bare, with_errors(spoilt, errors, rng)))


def with_errors(texts: Sequence[str], errors: TranscriptionErrors, rng: random.Random) -> list[str]:
    """Texts with up to `MOST_ERRORS` of their words wrong; what negates stays, so that the label does."""
    return [errors(text, rng.uniform(0, MOST_ERRORS), rng, keep_negations=True) for text in texts]


class TextStates(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Of each way and text the states (t, 384) that go into the first adapted layer, in float16 for their size."""

    ways: tuple[list[Tensor], ...]

    @property
    def plain(self) -> list[Tensor]:
        """Those of the first way."""
        return self.ways[0]


class TextRows(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Rows of both data sets: sentiment float32 (m,), emotions and polarities int64 (n,), a polarity -1 if unknown."""

    opinions: TextStates
    sentiment: Tensor
    utterances: TextStates
    emotions: Tensor
    polarities: Tensor


class TextBatch(NamedTuple):
    """States (t, 384) of texts of these lengths, opinions before utterances, and what they are labelled with."""

    states: Tensor
    lengths: list[int]
    sentiment: Tensor
    emotions: Tensor
    polarities: Tensor


class TextBatches:
    """An epoch's batches: utterances once each in a random order, opinions over and over; or all in order, as they are.

    What is random is a function of seed and epoch, so that a run that was broken off goes on as it would have.
    """

    def __init__(
        self, rows: TextRows, *, opinions: int, utterances: int, plain: float = 1.0, seed: tuple[int, int] | None = None
    ) -> None:
        self._rows = rows
        self._counts = (opinions, utterances)
        self._plain = plain
        self._seed = seed

    def __len__(self) -> int:
        opinions, utterances = self._counts
        if self._seed is not None:
            return max(1, len(self._rows.emotions) // utterances)
        return -(-len(self._rows.sentiment) // opinions) + -(-len(self._rows.emotions) // utterances)

    def __iter__(self) -> Iterator[TextBatch]:
        opinions, utterances = self._counts
        m, n = len(self._rows.sentiment), len(self._rows.emotions)
        if self._seed is None:
            for first in range(0, m, opinions):
                yield self._batch(range(first, min(m, first + opinions)), (), None)
            for first in range(0, n, utterances):
                yield self._batch((), range(first, min(n, first + utterances)), None)
            return
        rng = random.Random("{} {}".format(*self._seed))
        of_opinions, of_utterances = _endless(m, rng), _endless(n, rng)
        for _ in range(len(self)):
            some = [next(of_opinions) for _ in range(opinions)], [next(of_utterances) for _ in range(utterances)]
            yield self._batch(*some, rng)

    def _batch(self, opinions: Sequence[int], utterances: Sequence[int], rng: random.Random | None) -> TextBatch:
        rows = self._rows
        texts = [self._way(rows.opinions, rng)[k] for k in opinions]
        texts += [self._way(rows.utterances, rng)[k] for k in utterances]
        first, second = torch.tensor(opinions, dtype=torch.long), torch.tensor(utterances, dtype=torch.long)
        return TextBatch(
            states=torch.cat(texts),
            lengths=[len(text) for text in texts],
            sentiment=rows.sentiment[first],
            emotions=rows.emotions[second],
            polarities=rows.polarities[second],
        )

    def _way(self, texts: TextStates, rng: random.Random | None) -> list[Tensor]:
        if rng is None or len(texts.ways) == 1 or rng.random() < self._plain:
            return texts.plain
        return texts.ways[rng.randrange(1, len(texts.ways))]


def states_below(
    network: PackedMiniLM, layer: int, texts: WrittenTexts, track: Track = silently, title: str = "Texts"
) -> TextStates:
    """What goes into a layer of the packaged network: computed once, since nothing before the adapters changes."""
    tokenizer = text_tokenizer()
    ways = tuple(
        _states(network, layer, [tokenizer.encode(text).ids for text in track(way, f"{title} {k} of {len(texts.ways)}")])
        for k, way in enumerate(texts.ways, start=1)
    )
    return TextStates(ways=ways)


@torch.no_grad()
def _states(network: PackedMiniLM, layer: int, texts: list[list[int]]) -> list[Tensor]:
    states: list[Tensor] = []
    pack: list[list[int]] = []
    for k, ids in enumerate(texts):
        pack.append(ids)
        if k + 1 == len(texts) or sum(map(len, pack)) + len(texts[k + 1]) > MOST_TOKENS:
            lengths = [len(text) for text in pack]
            x = run(network.layers[:layer], network.embedded(pack), lengths).half().cpu()
            states += [text.clone() for text in x.split(lengths)]
            pack = []
    return states


def _endless(count: int, rng: random.Random) -> Iterator[int]:
    """Numbers below `count`, each once before any comes again."""
    while True:
        order = list(range(count))
        rng.shuffle(order)
        yield from order
