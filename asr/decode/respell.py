"""What was heard for a name, written as the name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr.decode.types import Hypothesis, Word

Span = tuple[int, int, str]
"""First word, the one behind the last, and the words that stand for them."""


def respelled(hypothesis: Hypothesis, spans: Sequence[Span]) -> Hypothesis:
    """The hypothesis with other words in some places.

    Args:
        hypothesis: as it was found.
        spans: in order, without overlap. The new words share the time of the old ones by their letters, and have the
            mean of their confidences.
    """
    if not spans:
        return hypothesis
    words: list[Word] = []
    place = 0
    for start, end, text in spans:
        old = hypothesis.words[start:end]
        words += hypothesis.words[place:start]
        confidence = sum(word.confidence for word in old) / len(old)
        first_s, length_s = old[0].start_s, old[-1].end_s - old[0].start_s
        letters, done = len(text.replace(" ", "")), 0
        for word in text.split():
            begin_s = first_s + length_s * done / letters
            done += len(word)
            words.append(Word(word, begin_s, first_s + length_s * done / letters, confidence))
        place = end
    words += hypothesis.words[place:]
    return replace(hypothesis, text=" ".join(word.word for word in words), words=tuple(words))


def distinct(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    """The hypotheses without those whose text a better one has."""
    return list({hypothesis.text: hypothesis for hypothesis in reversed(hypotheses)}.values())[::-1]
