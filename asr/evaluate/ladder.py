"""The bias/variance ladder of the case study: how far each step from a perfect system takes the error.

From the bottom: what a person or another system reaches, the error on the training data itself, on data held out of
them, on the test in quiet, and in the car. The gap between two rungs names a cause: bias, variance, a mismatch of
training and use, noise (Ng, "Machine learning yearning", chapters 20 to 43; DeepLearning.AI's voice-search example).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr.evaluate.differences import rate_difference
from asr.evaluate.evaluation import Rate
from asr.evaluate.findings import Gap, GapKind, GroupRate, Ladder, Rung, RungKind
from asr.evaluate.measure import Scored, rates, select, units_of
from asr.evaluate.results import ScoredUtterance
from asr.evaluate.slices import CLEAN, SNR_STEP_DB, NoiseCondition, noise_condition
from asr.evaluate.statistics import Floats, Integers, Resampling, units

NAMES: Mapping[RungKind, str] = {
    "reference": "reference",
    "train": "training error",
    "train_dev": "held-out error",
    "dev": "test in quiet",
    "car": "test in the car",
}
_MISSING: Mapping[RungKind, str] = {
    "reference": "no reference system or person was given: bias is measured from zero, which overstates it",
    "train": "the training error is missing: bias cannot be told from variance",
    "train_dev": "the held-out error on the training distribution is missing: variance cannot be told from mismatch",
    "dev": "the test in quiet is missing: mismatch cannot be told from noise",
    "car": "the test in the car is missing: nothing is known of noise",
}
_STEPS: Mapping[RungKind, GapKind] = {"train": "bias", "train_dev": "variance", "dev": "mismatch", "car": "noise"}
"""The gap that leads up to a rung."""


@dataclass(frozen=True, slots=True)
class Level:
    """One measured rung.

    Attributes:
        kind: which.
        scored: its items.
        source: the results they come from.
    """

    kind: RungKind
    scored: Scored
    source: str


def split_by_noise(scored: Scored) -> tuple[Scored, Scored]:
    """The items without added noise and those with it."""
    noisy = np.array([noise_condition(item.utterance.augmentation) is not None for item in scored.items], bool)
    return select(scored, np.flatnonzero(~noisy)), select(scored, np.flatnonzero(noisy))


def ladder(levels: Sequence[Level], references: Mapping[str, float], resampling: Resampling | None = None) -> Ladder:
    """Builds the ladder from what is known.

    Args:
        levels: measured rungs, each kind at most once; one without items counts as missing.
        references: name -> word error rate, a fraction, of persons and other systems on the test in quiet; the lowest
            is what bias is measured from.
        resampling: how intervals are drawn.
    """
    resampling = resampling or Resampling()
    known = {level.kind: level for level in levels if level.scored.items}
    given = sorted(references.items(), key=lambda entry: entry[1])
    rungs = [Rung("reference", name, Rate(value, None, None), 0, 0, "given") for name, value in given]
    missing = [] if given else [_MISSING["reference"]]
    for kind in _STEPS:
        level = known.get(kind)
        if level is None:
            missing.append(_MISSING[kind])
            rungs.append(Rung(kind, NAMES[kind], None, 0, 0, "missing"))
        else:
            rungs.append(_rung(level, resampling))
    gaps = _gaps(known, given[0] if given else ("perfect", 0.0), resampling)
    clear = [(gap.difference.value or 0.0, -index) for index, gap in enumerate(gaps) if gap.clear]
    return Ladder(tuple(rungs), tuple(gaps), -max(clear)[1] if clear else None, tuple(missing))


def _rung(level: Level, resampling: Resampling) -> Rung:
    errors, words = _counts(level.scored)
    (wer,) = rates([errors.tolist()], [words.tolist()], units_of(level.scored.items)[0], resampling)
    conditions = _conditions(level.scored, resampling) if level.kind == "car" else ()
    return Rung(level.kind, NAMES[level.kind], wer, len(errors), int(words.sum()), level.source, conditions)


def _conditions(scored: Scored, resampling: Resampling) -> tuple[GroupRate, ...]:
    """The noises of a rung, by kind and from quiet to loud, signal-to-noise ratios rounded to 5 dB."""
    members: dict[tuple[str, float], list[int]] = {}
    for index, item in enumerate(scored.items):
        found = noise_condition(item.utterance.augmentation) or NoiseCondition(CLEAN, None)
        snr_db = np.inf if found.snr_db is None else round(found.snr_db / SNR_STEP_DB) * SNR_STEP_DB
        members.setdefault((found.kind, -snr_db), []).append(index)
    groups = []
    for (kind, louder), indices in sorted(members.items()):
        part = select(scored, indices)
        errors, words = _counts(part)
        (rate,) = rates([errors.tolist()], [words.tolist()], units_of(part.items)[0], resampling)
        name = str(NoiseCondition(kind, None if np.isinf(louder) else -louder))
        inserted = sum(alignment.words.insertions for alignment in part.alignments)
        groups.append(GroupRate(name, len(indices), int(words.sum()), int(errors.sum()), inserted, rate))
    return tuple(groups)


def _gaps(known: Mapping[RungKind, Level], floor: tuple[str, float], resampling: Resampling) -> list[Gap]:
    gaps: list[Gap] = []
    below: Level | None = None
    causes: list[GapKind] = []
    for kind, cause in _STEPS.items():
        causes.append(cause)
        if kind not in known:
            continue
        level = known[kind]
        if below is None:
            rate = _rung(level, resampling).wer or Rate(None, None, None)
            difference = Rate(*(None if v is None else v - floor[1] for v in (rate.value, rate.low, rate.high)))
        else:
            difference = _difference(below.scored, level.scored, resampling)
        gaps.append(
            Gap(
                causes[0] if len(causes) == 1 else "mixed",
                tuple(causes),
                NAMES[below.kind] if below else floor[0],
                NAMES[kind],
                difference,
                clear=difference.low is not None and difference.low > 0,
            )
        )
        below, causes = level, []
    return gaps


def _difference(lower: Scored, upper: Scored, resampling: Resampling) -> Rate:
    items: tuple[ScoredUtterance, ...] = (*lower.items, *upper.items)
    unit: Integers = units([i.utterance.speaker for i in items], [i.item for i in items])[0]
    (a, b), count = (_counts(lower), _counts(upper)), len(lower.items)
    return rate_difference((a[0], b[0]), (a[1], b[1]), (unit[:count], unit[count:]), resampling)


def _counts(scored: Scored) -> tuple[Floats, Floats]:
    """Word errors and reference words of each item, each of shape (N,)."""
    table = np.array([(a.words.errors, a.words.length) for a in scored.alignments], np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
