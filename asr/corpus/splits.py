"""Who goes into train, dev and test, so that no known speaker and no sentence stands in two of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from asr.corpus.checks import Dropped, Kept, Reason, renamed
from asr.errors import ConfigError

SPLITS = ("train", "dev", "test")
_OTHER_NAMES = {
    "training": "train",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "development": "dev",
    "eval": "test",
}


@dataclass(frozen=True, slots=True)
class Shares:
    """Fractions of train, dev and test; they sum to 1."""

    train: float
    dev: float
    test: float

    @classmethod
    def parse(cls, text: str) -> Shares:
        """Reads ``80/10/10`` or ``90/10`` (no test split)."""
        try:
            values = [float(part) for part in text.split("/")]
        except ValueError:
            values = []
        if len(values) not in (2, 3) or min(values) < 0 or values[0] <= 0 or abs(sum(values) - 100) > 0.01:
            raise ConfigError(
                f"split {text!r}: give percentages of train, dev and test that sum to 100, such as 80/10/10"
            )
        train, dev, test = (value / 100 for value in (*values, 0.0)[:3])
        return cls(train, dev, test)


def canonical(name: str) -> str:
    """The usual name of a split: ``validation`` is ``dev``; a name that is not known stays."""
    lower = name.strip().lower()
    return _OTHER_NAMES.get(lower, lower)


def assign(kept: Sequence[Kept], shares: Shares, seed: int) -> list[Kept]:
    """Gives every utterance a split by the hash of its speaker, or of its sentence where the speaker is unknown.

    A hash keeps a speaker where they are when the corpus grows. With few speakers a split may come out empty;
    it then gets the speaker (or sentence) whose hash lies nearest to it, from a split that has another.
    """
    keys = [item.utterance.speaker or item.utterance.text for item in kept]
    positions = {key: _position(key, seed) for key in keys}
    bounds = {
        "test": (0.0, shares.test),
        "dev": (shares.test, shares.test + shares.dev),
        "train": (shares.test + shares.dev, 1.0),
    }
    chosen = {
        key: next((name for name, (low, high) in bounds.items() if low <= position < high), "train")
        for key, position in positions.items()
    }
    for name, (low, high) in bounds.items():
        sizes = Counter(chosen.values())
        movable = [key for key in chosen if sizes[chosen[key]] > 1]
        if high > low and not sizes[name] and movable:
            nearest = min(movable, key=lambda key: (abs(positions[key] - (low + high) / 2), key))
            chosen[nearest] = name
    return [renamed(item, split=chosen[key]) for item, key in zip(kept, keys, strict=True)]


def separate(kept: Sequence[Kept], *, shared_sentences: bool) -> tuple[list[Kept], list[Dropped]]:
    """Leaves out of a split what a more precious one holds too: test is kept before dev, dev before train.

    Args:
        kept: utterances with their splits; other names than train, dev and test count as train.
        shared_sentences: whether the splits may share sentences, as a corpus of ten digits must.

    Returns:
        What stays, in its order, and what was left out.
    """
    rank = {"test": 0, "dev": 1}
    speakers: dict[tuple[str, str], tuple[int, str]] = {}
    sentences: dict[str, tuple[int, str]] = {}
    for item in kept:
        row = item.utterance
        mine = (rank.get(row.split, 2), row.split)
        speaker = (row.corpus, row.speaker)
        speakers[speaker] = min(speakers.get(speaker, mine), mine)
        sentences[row.text] = min(sentences.get(row.text, mine), mine)
    stays: list[Kept] = []
    dropped: list[Dropped] = []
    for item in kept:
        row = item.utterance
        own = rank.get(row.split, 2)
        speaker = (row.corpus, row.speaker)
        if row.speaker and speakers[speaker][0] < own:
            detail = f"speaker {row.speaker!r} of {row.split or 'no split'} is in {speakers[speaker][1]} too"
            dropped.append(Dropped(item.item.where, Reason.SPEAKER_IN_TWO_SPLITS, detail))
        elif not shared_sentences and sentences[row.text][0] < own:
            detail = f"{row.text!r} of {row.split or 'no split'} is in {sentences[row.text][1]} too"
            dropped.append(Dropped(item.item.where, Reason.SENTENCE_IN_TWO_SPLITS, detail))
        else:
            stays.append(item)
    return stays, dropped


def _position(key: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
