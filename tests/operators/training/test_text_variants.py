from __future__ import annotations

import random

import pytest

from operators.training.text_variants import TranscriptionErrors, as_caption, as_sentence, sound_of, with_less_punctuation

TEXTS = ["they're there, their house", "to two too", "the knight by night", "write it right", "so we sew it"] * 2
TEXT = "it is not right that they write there by night"


def test_texts_are_varied_as_transcribers_and_captions_write() -> None:
    assert as_sentence("i loved it") == "I loved it."
    assert as_caption("I didn't - love it!") == "I DIDNT  LOVE IT"
    assert with_less_punctuation("No! It isn't - is it?") == "No It isn't  is it?"


@pytest.mark.parametrize(("one", "other"), [("knight", "night"), ("write", "right"), ("there", "their"), ("sew", "so")])
def test_words_that_sound_alike_share_a_key(one: str, other: str) -> None:
    assert sound_of(one) == sound_of(other)
    assert sound_of(one) != sound_of("film")


def test_errors_are_about_as_many_as_asked_for_and_the_same_for_a_seed() -> None:
    errors = TranscriptionErrors(TEXTS)
    assert errors(TEXT, 0.0, random.Random(0)) == TEXT
    heard = [errors(TEXT, 0.3, random.Random(seed)).split() for seed in range(300)]
    wrong = [sum(word not in words for word in TEXT.split()) / len(TEXT.split()) for words in heard]
    assert sum(wrong) / len(wrong) == pytest.approx(0.3 * 0.95, abs=0.05)
    assert errors(TEXT, 0.3, random.Random(7)) == errors(TEXT, 0.3, random.Random(7))
    assert any("knight" in words for words in heard)


def test_negations_stay_where_the_label_hangs_on_them_and_some_word_always_does() -> None:
    errors = TranscriptionErrors(TEXTS)
    heard = [errors("it isn't and dont but not", 1.0, random.Random(seed), keep_negations=True) for seed in range(50)]
    assert all({"isn't", "dont", "not"} <= set(text.split()) for text in heard)
    assert all(errors("hello", 1.0, random.Random(seed)) for seed in range(50))
