"""What phrase hints are worth: the rare words of references as hints, alone and among distractors.

A hinted word counts as right where the alignment says so. All other errors, insertions among them, count elsewhere,
except insertions right beside a hinted word that was missed: they are that word, heard as several.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from asr.decode import Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.hints import Hints
from asr.decode.types import LogProbs
from asr.errors import InputError
from asr.evaluate.heard import Heard
from asr.evaluate.names import Names

RARE = math.log(1e-5)
"""Words that the language model expects less often than once in 100,000 are rare."""
CHUNK_FRAMES = 8
"""Frames that a stream is handed at a time where it is timed."""

Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance with its hints.

    Attributes:
        words: the reference.
        hinted: for each of them whether a right hint covers it.
        phrases: the right hints.
        log_probs: posteriors, shape (T, V).
    """

    words: Phrase
    hinted: tuple[bool, ...]
    phrases: tuple[Phrase, ...]
    log_probs: LogProbs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was heard of some utterances under one condition.

    Attributes:
        hinted: reference words that right hints cover (or would, where none were given).
        hinted_right: those that were recognised.
        elsewhere: all other reference words.
        elsewhere_errors: substitutions, deletions and insertions beside them.
    """

    hinted: int
    hinted_right: int
    elsewhere: int
    elsewhere_errors: int

    @property
    def recall(self) -> float:
        """Of the hinted words, a fraction."""
        return self.hinted_right / max(1, self.hinted)

    @property
    def missed(self) -> int:
        return self.hinted - self.hinted_right

    @property
    def elsewhere_wer(self) -> float:
        """A fraction."""
        return self.elsewhere_errors / max(1, self.elsewhere)


def is_rare(lm: LanguageModel) -> Callable[[str], bool]:
    """Tells words that the language model does not know, or expects less often than `RARE`."""
    context, known = lm.empty(), frozenset(lm.words)
    return lambda word: word not in known or lm.score(context, word)[0] < RARE


def prepare(heard: Iterable[Heard], rare: Callable[[str], bool], names: Names) -> list[Item]:
    """Utterances with their rare words as right hints.

    A hint is a run of rare words and names beside each other with at least one rare word in it, as a caller would send
    "lionel messi" and not "messi".
    """
    items: list[Item] = []
    for utterance in heard:
        words = tuple(utterance.text.split())
        seldom = [rare(word) for word in words]
        marked = [a or b for a, b in zip(seldom, names.marks(words), strict=True)]
        hinted, phrases = [False] * len(words), []
        start = 0
        while start < len(words):
            end = start
            while end < len(words) and marked[end]:
                end += 1
            if any(seldom[start:end]):
                hinted[start:end] = [True] * (end - start)
                phrases.append(words[start:end])
            start = max(end, start + 1)
        log_probs = utterance.log_probs.astype(np.float32)
        items.append(Item(words, tuple(hinted), tuple(dict.fromkeys(phrases)), log_probs))
    return items


def pool(
    items: Iterable[Item], names: Names, lexicon: Iterable[str], rare: Callable[[str], bool]
) -> tuple[list[Phrase], list[Phrase]]:
    """Phrases to distract with: names of the lists and the hints of all utterances; and rare words of the lexicon."""
    near = {*names.phrases, *((name,) for name in names.ambiguous), *(p for item in items for p in item.phrases)}
    return sorted(near), sorted({(word,) for word in lexicon if rare(word)} - near)


def hints_of(item: Item, distractors: Sequence[Sequence[Phrase]], count: int, rng: np.random.Generator) -> list[Phrase]:
    """The right hints of an utterance and `count` others, of which no word is said in it, in random order.

    Args:
        item: the utterance.
        distractors: to draw from; the first list is used up before the next.
        count: how many to draw.
        rng: draws.

    Raises:
        InputError: there are not so many.
    """
    said = set(item.words)
    chosen: list[Phrase] = []
    for phrases in distractors:
        for index in rng.permutation(len(phrases)).tolist():
            if len(chosen) == count:
                break
            if said.isdisjoint(phrases[index]):
                chosen.append(phrases[index])
    if len(chosen) < count:
        raise InputError(f"{count} distractors are wanted, but there are only {len(chosen)} phrases to draw from")
    together = [*item.phrases, *chosen]
    return [together[index] for index in rng.permutation(len(together)).tolist()]


def outcome(items: Sequence[Item], texts: Sequence[str]) -> Outcome:
    """Counts what was recognised."""
    hinted = right = elsewhere = errors = 0
    for item, text in zip(items, texts, strict=True):
        hinted += sum(item.hinted)
        elsewhere += len(item.words) - sum(item.hinted)
        missed = list(item.hinted)
        inserted: list[tuple[int, int]] = []
        for chunk in jiwer.process_words(" ".join(item.words), text).alignments[0]:
            places = range(chunk.ref_start_idx, chunk.ref_end_idx)
            if chunk.type == "equal":
                right += sum(item.hinted[place] for place in places)
                missed[chunk.ref_start_idx : chunk.ref_end_idx] = [False] * len(places)
            elif chunk.type == "insert":
                inserted.append((chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx))
            else:
                errors += sum(not item.hinted[place] for place in places)
        errors += sum(count for place, count in inserted if not any(missed[max(0, place - 1) : place + 1]))
    return Outcome(hinted, right, elsewhere, errors)


def change_interval(
    items: Sequence[Item], before: Sequence[str], after: Sequence[str], seed: int = 0, resamples: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of the change of `Outcome.elsewhere_wer`, by a bootstrap of whole utterances.

    Args:
        items: utterances.
        before: what was recognised of each without hints.
        after: and with them.
        seed: of the resampling.
        resamples: how many.

    Returns:
        The 2.5 and 97.5 % quantiles, fractions; zeros if there are no words.
    """
    counted = [(outcome([item], [a]), outcome([item], [b])) for item, a, b in zip(items, before, after, strict=True)]
    words = np.array([a.elsewhere for a, _ in counted], np.int64)
    more = np.array([b.elsewhere_errors - a.elsewhere_errors for a, b in counted], np.int64)
    if not words.sum():
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(words), (resamples, len(words)))
    low, high = np.quantile(more[drawn].sum(axis=1) / np.maximum(1, words[drawn].sum(axis=1)), [0.025, 0.975])
    return float(low), float(high)


class HintBench:
    """Decodes utterances with and without hints.

    Args:
        items: with posteriors.
        distractors: to draw from, see `hints_of`.
        decoder: with the settings to measure.
        seed: draws the distractors; the more hold the fewer.
    """

    def __init__(
        self, items: Sequence[Item], distractors: Sequence[Sequence[Phrase]], decoder: Decoder, seed: int = 0
    ) -> None:
        self.items, self.decoder = items, decoder
        self._distractors, self._seed = distractors, seed

    def hints(self, index: int, count: int | None) -> Hints | None:
        """The hints of one utterance among `count` distractors; None for none."""
        return None if count is None else self.decoder.hints(self._phrases(index, count))

    def run(self, count: int | None, report: Callable[[], None] = lambda: None) -> tuple[Outcome, list[str]]:
        """Decodes everything with `count` distractors beside the right hints, or without hints for None.

        Returns:
            What was recognised, and the texts.
        """
        texts: list[str] = []
        for index, item in enumerate(self.items):
            texts.append(self.decoder.decode(item.log_probs, 1, self.hints(index, count))[0].text)
            report()
        return outcome(self.items, texts), texts

    def time_ratio(self, count: int, *, most: int = 40, rounds: int = 3) -> tuple[float, float, float]:
        """Processor seconds of decoding with `count` distractors over those without hints, in turns.

        Args:
            count: distractors.
            most: utterances that are timed, evenly chosen.
            rounds: the fastest of so many counts, for each utterance.

        Returns:
            The ratio, seconds per second of audio without hints, and seconds to compile the hints of an utterance.
        """
        chosen = np.unique(np.linspace(0, len(self.items) - 1, min(most, len(self.items))).astype(int)).tolist()
        without = with_hints = compiling = frames = 0.0
        for index in chosen:
            log_probs = self.items[index].log_probs
            phrases = self._phrases(index, count)
            began = time.thread_time()
            hints = self.decoder.hints(phrases)
            compiling += time.thread_time() - began
            pairs = [(self._seconds(log_probs, None), self._seconds(log_probs, hints)) for _ in range(rounds)]
            without += min(pair[0] for pair in pairs)
            with_hints += min(pair[1] for pair in pairs)
            frames += len(log_probs)
        audio_s = frames * self.decoder.frame_s
        return with_hints / without, without / audio_s, compiling / len(chosen)

    def _phrases(self, index: int, count: int) -> list[tuple[str, float]]:
        rng = np.random.default_rng([self._seed, index])
        return [(" ".join(phrase), 0.0) for phrase in hints_of(self.items[index], self._distractors, count, rng)]

    def _seconds(self, log_probs: LogProbs, hints: Hints | None) -> float:
        began = time.thread_time()
        stream = self.decoder.stream(hints)
        for start in range(0, len(log_probs), CHUNK_FRAMES):
            stream.accept(log_probs[start : start + CHUNK_FRAMES])
            stream.best()
        stream.finish()
        return time.thread_time() - began


def bench_of(
    heard: Sequence[Heard],
    lm: LanguageModel,
    names: Names,
    tokens: Tokens,
    config: DecoderConfig,
    frame_s: float,
    seed: int = 0,
) -> HintBench:
    """A bench over utterances, with distractors from the lists of names, the utterances and the lexicon."""
    rare = is_rare(lm)
    items = prepare(heard, rare, names)
    return HintBench(items, pool(items, names, lm.words, rare), Decoder(tokens, config, frame_s, lm), seed)
