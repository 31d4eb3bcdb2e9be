"""The test divided by kinds of words (known, names, first, last) and of utterances (long, fast, noisy, unsure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import numpy as np

from asr.evaluate.findings import Breakdown, GroupRate
from asr.evaluate.measure import Scored, rates, units_of
from asr.evaluate.names import Names
from asr.evaluate.results import ScoredUtterance
from asr.evaluate.slices import CLEAN, SNR_STEP_DB, noise_condition
from asr.evaluate.statistics import Resampling

LENGTH_EDGES_WORDS = (2, 4, 7, 13, 25)
RATE_EDGES = (1.5, 2.0, 2.5, 3.0, 3.5)
"""Words per second of audio, pauses at the ends included."""
SNR_EDGES_DB = (-2.5, 2.5, 7.5, 12.5, 17.5)
TENTHS = 10
POSITIONS = ("only", "first", "second", "middle", "last")


def breakdowns(
    scored: Scored,
    *,
    vocabulary: Collection[str] | None = None,
    names: Names | None = None,
    resampling: Resampling | None = None,
) -> tuple[Breakdown, ...]:
    """Every breakdown of which the test says something; see `asr.evaluate.findings.Breakdown`.

    Args:
        scored: the items.
        vocabulary: known words.
        names: what a name is.
        resampling: how intervals are drawn.
    """
    if not scored.items:
        return ()
    resampling = resampling or Resampling()
    found = []
    if vocabulary is not None:
        known = frozenset(vocabulary)
        found.append(
            _of_words(
                scored,
                ("vocabulary", "Known and unknown words", ("known", "unknown")),
                lambda words: ["known" if word in known else "unknown" for word in words],
                resampling,
            )
        )
    if names is not None:
        listed = names
        found.append(
            _of_words(
                scored,
                ("names", "Names and the rest", ("names", "other words")),
                lambda words: ["names" if mark else "other words" for mark in listed.marks(words)],
                resampling,
            )
        )
    found.append(_of_words(scored, ("position", "Position in the utterance", POSITIONS), positions, resampling))
    lengths = [float(alignment.words.length) for alignment in scored.alignments]
    paces = [length / max(_seconds(item), 1e-3) for length, item in zip(lengths, scored.items, strict=True)]
    ratios = [_snr_db(item) for item in scored.items]
    found.append(_of_ranges(scored, ("length", "Words in the utterance"), lengths, LENGTH_EDGES_WORDS, resampling))
    found.append(_of_ranges(scored, ("rate", "Words per second"), paces, RATE_EDGES, resampling))
    if any(ratio is not None and math.isfinite(ratio) for ratio in ratios):
        found.append(_of_ranges(scored, ("snr", "Signal to noise, dB"), ratios, SNR_EDGES_DB, resampling))
    if any(item.words for item in scored.items):
        sure = [item.confidence for item in scored.items]
        edges = np.unique(np.quantile(sure, np.arange(1, TENTHS) / TENTHS)).tolist()
        found.append(_of_ranges(scored, ("confidence", "Confidence of the utterance"), sure, edges, resampling))
    return tuple(breakdown for breakdown in found if breakdown.groups)


def positions(words: Sequence[str]) -> list[str]:
    """Each word's place: "only" in an utterance of one word, else "first", "second", "middle" or "last"."""
    if len(words) == 1:
        return ["only"]
    return ["first", "second", *["middle"] * (len(words) - 3), "last"] if len(words) > 2 else ["first", "last"]


def _seconds(item: ScoredUtterance) -> float:
    return item.audio_s or item.utterance.duration


def _snr_db(item: ScoredUtterance) -> float | None:
    """Infinite for an item without noise, None where the ratio is unknown."""
    condition = noise_condition(item.utterance.augmentation)
    return math.inf if condition is None else condition.snr_db


def _of_words(
    scored: Scored,
    name: tuple[str, str, Sequence[str]],
    label: Callable[[Sequence[str]], list[str]],
    resampling: Resampling,
) -> Breakdown:
    """Divides the words of the references: misses count as errors, insertions stand apart."""
    index = {group: place for place, group in enumerate(name[2])}
    counts, missed, inserted = (np.zeros((len(scored.items), len(index))) for _ in range(3))
    for row, alignment in enumerate(scored.alignments):
        labels = [index[group] for group in label([spoken for spoken, _ in alignment.pairs if spoken])]
        place = 0
        for spoken, heard in alignment.pairs:
            column = labels[min(place, len(labels) - 1)]
            if spoken:
                counts[row, column] += 1
                missed[row, column] += spoken != heard
                place += 1
            else:
                inserted[row, column] += 1
    found = rates(missed.T.tolist(), counts.T.tolist(), units_of(scored.items)[0], resampling)
    groups = [
        GroupRate(
            group,
            int((counts[:, column] > 0).sum()),
            int(counts[:, column].sum()),
            int(missed[:, column].sum()),
            int(inserted[:, column].sum()),
            found[column],
        )
        for group, column in index.items()
        if counts[:, column].any()
    ]
    return Breakdown(name[0], name[1], "missed", tuple(groups))


def _of_ranges(
    scored: Scored,
    name: tuple[str, str],
    values: Sequence[float | None],
    edges: Sequence[float],
    resampling: Resampling,
) -> Breakdown:
    """Divides the utterances by a number; those without a number (None) are left out, infinite ones are "clean"."""
    bounds: list[tuple[float | None, float | None]] = list(pairwise([None, *edges, None]))
    place = [None if value is None else int(np.searchsorted(edges, value, side="right")) for value in values]
    members = [
        (
            _range(name[0], low, high),
            low,
            high,
            [i for i, at in enumerate(place) if at == column and values[i] != math.inf],
        )
        for column, (low, high) in enumerate(bounds)
    ]
    members.append((CLEAN, None, None, [i for i, value in enumerate(values) if value == math.inf]))
    if name[0] == "snr":  # from quiet to loud noise, as the slices stand
        members.reverse()
    groups = []
    for group, low, high, inside in members:
        if not inside:
            continue
        words = [scored.alignments[i].words for i in inside]
        unit = units_of([scored.items[i] for i in inside])[0]
        (rate,) = rates([[c.errors for c in words]], [[c.length for c in words]], unit, resampling)
        count, errors = sum(c.length for c in words), sum(c.errors for c in words)
        inserted = sum(c.insertions for c in words)
        groups.append(GroupRate(group, len(inside), count, errors, inserted, rate, low, high))
    return Breakdown(name[0], name[1], "wer", tuple(groups))


def _range(name: str, low: float | None, high: float | None) -> str:
    """What to call the numbers from `low` to below `high`."""
    if name == "length":  # whole numbers
        low, high = low or 1, None if high is None else high - 1
        return f"{low:g} and more" if high is None else f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if name == "snr":  # the middle of the range
        half = SNR_STEP_DB / 2
        return (
            f"{low + half:g} dB{'' if high is not None else ' and more'}"
            if low is not None
            else ("all" if high is None else f"{high - half:g} dB and less")
        )
    if low is not None and high is not None:
        return f"{low:.3g} to {high:.3g}"
    return f"below {high:.3g}" if high is not None else "all" if low is None else f"{low:.3g} and more"
