"""The noise ladder: several models on the same recordings, in quiet and in ever louder noise.

Every number is over the recordings that every model recognised on every rung, so that rungs and models differ in
nothing else. The change of a model's errors against the first model's is a ratio of sums over the same recordings;
its interval is a paired bootstrap (Bisani & Ney, ICASSP 2004) over speakers or recordings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from asr.corpus.manifest import Problem
from asr.errors import InputError
from asr.evaluate.align import Alignment
from asr.evaluate.evaluation import Rate
from asr.evaluate.measure import score, units_of
from asr.evaluate.results import Results, ScoredUtterance
from asr.evaluate.slices import CLEAN
from asr.evaluate.statistics import Integers, Resampling, intervals


@dataclass(frozen=True, slots=True)
class Condition:
    """What a recording is heard in.

    Attributes:
        noise: kind of noise as in `asr.evaluate.run.RunConfig`, or "clean".
        snr_db: None for clean.
    """

    noise: str = CLEAN
    snr_db: float | None = None

    def __str__(self) -> str:
        return CLEAN if self.snr_db is None else f"{self.noise} {self.snr_db:g} dB"


@dataclass(frozen=True, slots=True)
class ModelOnRung:
    """One model in one condition.

    Attributes:
        wer: word error rate.
        errors, insertions: counts.
        change: errors against the first model's, minus 1: -0.4 is 40 % fewer; None for the first model, and without
            value where the first model makes no errors.
        corpora: word error rate of each corpus.
    """

    wer: Rate
    errors: int
    insertions: int
    change: Rate | None
    corpora: dict[str, float]


@dataclass(frozen=True, slots=True)
class NoiseRung:
    """All models in one condition."""

    condition: Condition
    models: tuple[ModelOnRung, ...]


@dataclass(frozen=True, slots=True)
class NoiseLadder:
    """The whole measurement.

    Attributes:
        models: their names, the one to compare with first.
        rungs: clean first, then each noise from quiet to loud.
        utterances, words: of the recordings that count.
        unit, units: what was resampled, and how many.
        left_out: recordings that do not count, and why.
        settings: how it was measured.
    """

    models: tuple[str, ...]
    rungs: tuple[NoiseRung, ...]
    utterances: int
    words: int
    unit: str
    units: int
    left_out: tuple[Problem, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def noises(self) -> tuple[str, ...]:
        """Kinds of noise, without clean, in order."""
        return tuple(dict.fromkeys(r.condition.noise for r in self.rungs if r.condition.snr_db is not None))


Key = tuple[str, str, int]
Heard = Mapping[Key, tuple[ScoredUtterance, Alignment]]


def noise_ladder(
    heard: Mapping[Condition, Sequence[Results]],
    models: Sequence[str],
    *,
    resampling: Resampling | None = None,
    settings: Mapping[str, Any] | None = None,
) -> NoiseLadder:
    """Measures the models against the first one.

    Args:
        heard: each condition's results, one for each model in the order of `models`.
        models: names of the models.
        resampling: how intervals are drawn.
        settings: kept with the result.

    Raises:
        InputError: no recording with a transcript was recognised by every model in every condition.
    """
    resampling = resampling or Resampling()
    sides = {condition: [_by_recording(results) for results in group] for condition, group in heard.items()}
    every = [side for group in sides.values() for side in group]
    keys = [key for key in every[0] if all(key in side for side in every)] if every else []
    if not keys:
        raise InputError("no recording with a transcript was recognised by every model in every condition")
    items = [every[0][key][0] for key in keys]
    unit, kind = units_of(items)
    rungs = [
        NoiseRung(condition, _rung([[side[key] for key in keys] for side in group], unit, resampling))
        for condition, group in sides.items()
    ]
    return NoiseLadder(
        models=tuple(models),
        rungs=tuple(rungs),
        utterances=len(keys),
        words=sum(every[0][key][1].words.length for key in keys),
        unit=kind,
        units=int(unit.max(initial=-1)) + 1,
        left_out=_left_out(heard, set(keys)),
        settings=dict(settings or {}),
    )


def _by_recording(results: Results) -> dict[Key, tuple[ScoredUtterance, Alignment]]:
    """Scored items by manifest, recording and how often that name came before."""
    scored = score(results)
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for item, alignment in zip(scored.items, scored.alignments, strict=True):
        name = (item.manifest, item.item)
        found[(*name, seen[name])] = (item, alignment)
        seen[name] += 1
    return found


def _left_out(heard: Mapping[Condition, Sequence[Results]], kept: set[Key]) -> tuple[Problem, ...]:
    names = {(manifest, item) for manifest, item, _ in kept}
    found: dict[str, str] = {}
    for condition, group in heard.items():
        for results in group:
            found |= {problem.where: problem.reason for problem in results.left_out}
            for item in results.items:
                if item.error is not None:
                    found[item.item] = f"{condition}: {item.error}"
                elif (item.manifest, item.item) not in names:
                    found.setdefault(item.item, "has no transcript to compare with")
    return tuple(Problem(where, reason) for where, reason in found.items())


def _rung(
    sides: Sequence[Sequence[tuple[ScoredUtterance, Alignment]]], unit: Integers, resampling: Resampling
) -> tuple[ModelOnRung, ...]:
    errors = np.array([[alignment.words.errors for _, alignment in side] for side in sides], np.float64).T
    words = np.array([alignment.words.length for _, alignment in sides[0]], np.float64)
    corpora = np.array([item.utterance.corpus for item, _ in sides[0]], dtype=object)
    count = len(sides)
    bounds = intervals(errors, np.repeat(words[:, None], count, axis=1), unit, resampling)
    ratios = intervals(errors, np.repeat(errors[:, :1], count, axis=1), unit, resampling) - 1.0
    first = errors[:, 0].sum()
    return tuple(
        ModelOnRung(
            wer=_rate(errors[:, index].sum() / words.sum(), bounds[index]),
            errors=int(errors[:, index].sum()),
            insertions=sum(alignment.words.insertions for _, alignment in side),
            change=_rate(errors[:, index].sum() / first - 1.0 if first else np.nan, ratios[index]) if index else None,
            corpora={
                str(name): float(errors[corpora == name, index].sum() / words[corpora == name].sum())
                for name in sorted(set(corpora))
                if name
            },
        )
        for index, side in enumerate(sides)
    )


def _rate(value: float, bounds: np.ndarray) -> Rate:
    low, high = (None if np.isnan(edge) else float(edge) for edge in bounds)
    return Rate(None if np.isnan(value) else float(value), low, high)


def markdown(ladder: NoiseLadder) -> str:
    """The ladder as Markdown: word error rates with intervals, the change against the first model, each corpus."""
    head = ["condition", *(f"{name} WER %" for name in ladder.models)]
    head += [f"{name} against {ladder.models[0]}" for name in ladder.models[1:]]
    rows = [
        [
            str(rung.condition),
            *(_interval(model.wer) for model in rung.models),
            *(_change(model.change) for model in rung.models[1:]),
        ]
        for rung in ladder.rungs
    ]
    corpora = sorted({name for rung in ladder.rungs for model in rung.models for name in model.corpora})
    text = [
        f"{ladder.utterances} recordings, {ladder.words} words; intervals over {ladder.units} {ladder.unit}s.",
        _table(head, rows),
    ]
    if len(corpora) > 1:
        rows = [
            [
                str(rung.condition), name,
                *(f"{100 * model.corpora[corpus]:.1f}" if corpus in model.corpora else "–" for corpus in corpora),
            ]
            for rung in ladder.rungs
            for name, model in zip(ladder.models, rung.models, strict=True)
        ]  # fmt: skip
        text.append(_table(["condition", "model", *(f"{corpus} WER %" for corpus in corpora)], rows))
    return "\n\n".join(text) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _interval(rate: Rate) -> str:
    if rate.value is None:
        return "–"
    bounds = "" if rate.low is None or rate.high is None else f" ({100 * rate.low:.1f} to {100 * rate.high:.1f})"
    return f"{100 * rate.value:.1f}{bounds}"


def _change(rate: Rate | None) -> str:
    if rate is None or rate.value is None:
        return "–"
    bounds = "" if rate.low is None or rate.high is None else f" ({100 * rate.low:+.0f} to {100 * rate.high:+.0f})"
    return f"{100 * rate.value:+.1f} %{bounds}"
