"""Words that nothing taught a recogniser, spoken in real recordings: which they are, and how often they are recognised.

A word is right where the alignment says so. Errors beside it in the same utterances and errors in all other utterances
are counted apart: a word that is learned must not be heard where something else is said.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr.corpus.manifest import Utterance
from asr.errors import InputError
from asr.evaluate.align import align
from asr.evaluate.names import Names
from asr.evaluate.statistics import Floats, Integers, Resampling, intervals, paired_test, units

_WORD = re.compile(r"[a-z]{3,}")
MOST_SHOWN = 12
"""Words with false alarms that are named."""


@dataclass(frozen=True, slots=True)
class HeldOutWord:
    """A word that is held out.

    Attributes:
        word: in the recogniser's alphabet.
        spoken: how often, in the recordings.
        name: whether it is one.
        known: whether the recogniser's lexicon has it, so that its language model must lose it.
        sentences: of the language model's texts in which it stands, or its possessive.
    """

    word: str
    spoken: int
    name: bool
    known: bool
    sentences: int


def choose(
    spoken: Sequence[str],
    *,
    taught: Iterable[str],
    texts: Iterable[str],
    lexicon: Collection[str],
    names: Names,
    count: int = 100,
    least: int = 2,
) -> list[HeldOutWord]:
    """The words to hold out: names first, then those that the lexicon lacks, then the rarest in the texts.

    A candidate has three letters or more, is spoken often enough, and stands in no sentence that the acoustic model
    was trained on, alone or as a possessive. So only lexicon and language model must lose it.

    Args:
        spoken: transcripts of the recordings.
        taught: sentences that the acoustic model was trained on.
        texts: sentences that the language model was built from.
        lexicon: the recogniser's.
        names: lists of names; a word is one where it is marked in at least one transcript.
        count: how many.
        least: how often each is spoken at least.

    Raises:
        InputError: there are fewer.
    """
    counts = Counter(word for text in spoken for word in text.split())
    known_sounds = {word for text in taught for word in _bare(text)}
    found = {word for word, times in counts.items() if times >= least and _WORD.fullmatch(word)} - known_sounds
    if len(found) < count:
        raise InputError(
            f"{count} words are to be held out, but only {len(found)} are spoken {least} times or more and in no "
            "training transcript; ask for fewer"
        )
    sentences: Counter[str] = Counter()
    for text in texts:
        sentences.update(found.intersection(_bare(text)))
    marked = {
        word
        for text in spoken
        for word, mark in zip(text.split(), names.marks(text.split()), strict=True)
        if mark and word in found
    }
    rows = [HeldOutWord(word, counts[word], word in marked, word in lexicon, sentences[word]) for word in found]
    return sorted(rows, key=lambda row: (not row.name, row.known, row.sentences, row.word))[:count]


@dataclass(frozen=True, slots=True)
class Scores:
    """What was made of some utterances, each counted; all arrays of shape (N,).

    Attributes:
        said, right: held-out words that were spoken, and those recognised.
        beside, beside_errors: the other words of utterances with held-out words, and errors beside these.
        elsewhere, elsewhere_errors: words of utterances without any, and errors in them.
        false_alarms: held-out words that were heard where they were not said.
        by_word: (recognised, spoken) of each word, over all utterances.
        alarms: false alarms of each word that has any, most first.
    """

    said: Integers
    right: Integers
    beside: Integers
    beside_errors: Integers
    elsewhere: Integers
    elsewhere_errors: Integers
    false_alarms: Integers
    by_word: dict[str, tuple[int, int]]
    alarms: dict[str, int]


def score(references: Sequence[str], hypotheses: Sequence[str], words: Collection[str]) -> Scores:
    """Counts held-out words, right and wrong, and all other errors.

    An insertion right beside a held-out word that was missed is that word, heard as several, and counts no further.

    Args:
        references: what was said.
        hypotheses: what was heard.
        words: that are held out.
    """
    table = np.zeros((len(references), 7), np.int64)
    right: Counter[str] = Counter()
    spoken: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for row, alignment in zip(table, align(references, hypotheses), strict=True):
        pairs = alignment.pairs
        wanted = [said in words for said, _ in pairs]
        spoken.update(said for said, _ in pairs if said in words)
        right.update(said for said, heard in pairs if said in words and said == heard)
        missed = [want and said != heard for want, (said, heard) in zip(wanted, pairs, strict=True)]
        errors = sum(
            said != heard and not wanted[place] and not (not said and _beside(pairs, missed, place))
            for place, (said, heard) in enumerate(pairs)
        )
        others = sum(bool(said) for said, _ in pairs) - sum(wanted)
        row[:2] = sum(wanted), sum(wanted) - sum(missed)
        row[2 if any(wanted) else 4] = others
        row[3 if any(wanted) else 5] = errors
        row[6] = sum(heard in words and said != heard for said, heard in pairs)
        false.update(heard for said, heard in pairs if heard in words and said != heard)
    by_word = {word: (right[word], spoken[word]) for word in sorted(spoken)}
    said, correct, beside, beside_errors, elsewhere, elsewhere_errors, alarms = table.T
    return Scores(
        said, correct, beside, beside_errors, elsewhere, elsewhere_errors, alarms, by_word, dict(false.most_common())
    )


def _beside(pairs: Sequence[tuple[str, str]], missed: Sequence[bool], place: int) -> bool:
    """Whether a run of insertions around a place touches a word that was missed."""
    for step in (-1, 1):
        at = place + step
        while 0 <= at < len(pairs) and not pairs[at][0]:
            at += step
        if 0 <= at < len(pairs) and missed[at]:
            return True
    return False


def figures(scores: Scores, words: Sequence[HeldOutWord], config: Resampling) -> dict[str, Any]:
    """Recall with its interval, by kind of word, and errors elsewhere; rates are fractions.

    Recall is resampled by words, since the question is how well a word is learned, and its utterances go together.
    """
    names = {row.word for row in words if row.name}
    known = {row.word for row in words if row.known}
    kinds = {
        "all": {row.word for row in words},
        "names": names,
        "other words": {row.word for row in words} - names,
        "in the shipped lexicon": known,
        "not in the shipped lexicon": {row.word for row in words} - known,
    }
    return {
        "recall": {kind: _recall(scores, chosen, config) for kind, chosen in kinds.items()},
        "false_alarms": int(scores.false_alarms.sum()),
        "false_alarms_most": dict(list(scores.alarms.items())[:MOST_SHOWN]),
        "wer_beside": _rate(scores.beside_errors, scores.beside),
        "wer_elsewhere": _rate(scores.elsewhere_errors, scores.elsewhere),
    }


def changes(before: Scores, after: Scores, utterances: Sequence[Utterance], config: Resampling) -> dict[str, Any]:
    """What changed from one condition to another, paired, with 95 % intervals and p-values.

    Args:
        before: of some utterances.
        after: of the same.
        utterances: these; speakers are resampled where they are known, and words for recall.
        config: of the resampling.
    """
    speakers = [row.speaker and f"{row.corpus} {row.speaker}" for row in utterances]
    unit = units(speakers, [row.id or row.shard + row.audio_filepath for row in utterances])
    order = sorted(after.by_word)
    spoken = np.array([after.by_word[word][1] for word in order], np.int64)
    missed = [
        np.array([spoken[k] - scores.by_word[word][0] for k, word in enumerate(order)], np.int64)
        for scores in (before, after)
    ]
    by_word = paired_test(missed[0], missed[1], spoken, [], unit=(np.arange(len(order)), "word"), config=config)
    found: dict[str, Any] = {
        "recall": -by_word.difference,
        "recall_interval": None if by_word.low is None or by_word.high is None else [-by_word.high, -by_word.low],
        "recall_p": by_word.p_value,
    }
    for part in ("beside", "elsewhere"):
        errors = f"{part}_errors"
        test = paired_test(
            getattr(before, errors), getattr(after, errors), getattr(after, part), [], unit=unit, config=config
        )
        found |= {f"wer_{part}": test.difference, f"wer_{part}_interval": [test.low, test.high]}
        found[f"wer_{part}_p"] = test.p_value
    found["false_alarms"] = int(after.false_alarms.sum() - before.false_alarms.sum())
    found["unit"] = unit[1]
    return found


def _recall(scores: Scores, chosen: Collection[str], config: Resampling) -> dict[str, Any]:
    counted = [scores.by_word[word] for word in sorted(chosen) if word in scores.by_word]
    right: Floats = np.array([[float(right)] for right, _ in counted]).reshape(-1, 1)
    spoken: Floats = np.array([[float(spoken)] for _, spoken in counted]).reshape(-1, 1)
    low, high = intervals(right, spoken, np.arange(len(counted)), config)[0].tolist()
    return {
        "spoken": int(spoken.sum()),
        "right": int(right.sum()),
        "recall": float(right.sum() / max(1.0, spoken.sum())),
        "interval": None if math.isnan(low) else [low, high],
        "words": len(counted),
        "words_ever_right": sum(right > 0 for right, _ in counted),
    }


def _rate(errors: Integers, words: Integers) -> dict[str, Any]:
    return {"words": int(words.sum()), "errors": int(errors.sum()), "wer": int(errors.sum()) / max(1, int(words.sum()))}


def _bare(text: str) -> set[str]:
    return {word.removesuffix("'s") for word in text.split()}
