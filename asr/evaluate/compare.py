"""Two models on the same items: what changed, where, and whether it could be chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from pydantic import TypeAdapter

from asr.corpus.manifest import Problem
from asr.errors import InputError
from asr.evaluate.align import Alignment
from asr.evaluate.measure import score, units_of
from asr.evaluate.results import Results, ScoredUtterance
from asr.evaluate.slices import slices
from asr.evaluate.statistics import (
    MIN_UNITS,
    Integers,
    PairedTest,
    Resampling,
    holm,
    mcnemar_p,
    paired_test,
    segment_differences,
)

MIN_COUNT = 5

FlipKind = Literal["broken", "worse", "fixed", "better"]


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """Both models on one slice, or on the whole test.

    Attributes:
        dimension, value: which slice; "all" for the whole.
        utterances, words: how many items and reference words.
        wer_a, wer_b: word error rates.
        ser_a, ser_b: sentence error rates.
        fixed: utterances that only A got wrong.
        broken: utterances that only B got wrong.
        test: difference, interval and p-values.
        p_holm: `test.p_value` corrected for all slices tested (speakers, who may be many, for themselves); None where
            the slice has too few units to test.
    """

    dimension: str
    value: str
    utterances: int
    words: int
    wer_a: float
    wer_b: float
    ser_a: float
    ser_b: float
    fixed: int
    broken: int
    test: PairedTest
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class WordComparison:
    """One word of the references in both models.

    Attributes:
        word: as spoken.
        count: times spoken.
        missed_a, missed_b: times not recognised.
        p_value: exact McNemar test over the word's occurrences.
        p_holm: corrected for all words tested; None where the word is too rare to test.
    """

    word: str
    count: int
    missed_a: int
    missed_b: int
    p_value: float
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """An utterance on which the models make different numbers of word errors.

    Attributes:
        item: the item's key.
        kind: "fixed" (only A wrong), "broken" (only B wrong), "better" or "worse" (both wrong).
        reference, hypothesis_a, hypothesis_b: texts.
        errors_a, errors_b: word errors.
    """

    item: str
    kind: FlipKind
    reference: str
    hypothesis_a: str
    hypothesis_b: str
    errors_a: int
    errors_b: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A on the items that both have; negative differences are in favour of B.

    Attributes:
        overall: the whole test.
        slices: of every dimension, in natural order.
        words: most changed first.
        flips: broken first, then worse, fixed, better; most errors changed first.
        left_out: items that only one of the two has or could recognise, with reasons.
        settings: of both runs ("a", "b") and of the resampling.
    """

    overall: SliceComparison
    slices: tuple[SliceComparison, ...]
    words: tuple[WordComparison, ...]
    flips: tuple[Flip, ...]
    left_out: tuple[Problem, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        value: dict[str, Any] = TypeAdapter(Comparison).dump_python(self, mode="json")
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Comparison:
        """Reads what `to_json` gave."""
        return TypeAdapter(Comparison).validate_python(value)


@dataclass(frozen=True)
class _Matched:
    items: tuple[ScoredUtterance, ...]
    hypotheses: tuple[tuple[str, str], ...]
    a: tuple[Alignment, ...]
    b: tuple[Alignment, ...]
    left_out: tuple[Problem, ...]

    @cached_property
    def segments(self) -> list[Integers]:
        return [segment_differences(x.pairs, y.pairs) for x, y in zip(self.a, self.b, strict=True)]


def compare(
    a: Results, b: Results, *, vocabulary: Collection[str] | None = None, resampling: Resampling | None = None
) -> Comparison:
    """Compares two runs item by item.

    Args:
        a: the run to compare with.
        b: the run in question; items are matched by their keys (recording and noise).
        vocabulary: known words, for the slice of unknown ones.
        resampling: how intervals and p-values are drawn.

    Raises:
        InputError: the runs share no item.
    """
    resampling = resampling or Resampling()
    matched = _match(a, b)
    every = np.arange(len(matched.items))
    parts = [
        _slice(matched, dimension, value, indices, resampling)
        for dimension, members in slices([item.utterance for item in matched.items], vocabulary).items()
        for value, indices in members.items()
    ]
    return Comparison(
        overall=_slice(matched, "all", "all", every, resampling),
        slices=tuple(_corrected_slices(parts)),
        words=_words(matched),
        flips=_flips(matched),
        left_out=matched.left_out,
        settings={"a": a.settings, "b": b.settings, "resampling": asdict(resampling)},
    )


def _match(a: Results, b: Results) -> _Matched:
    left, right = score(a), score(b)
    a_by_key, b_by_key = _by_key(left.items, left.alignments), _by_key(right.items, right.alignments)
    shared = [key for key in a_by_key if key in b_by_key]
    problems = [Problem(key, "only A recognised it") for key in a_by_key if key not in b_by_key]
    problems += [Problem(key, "only B recognised it") for key in b_by_key if key not in a_by_key]
    same = []
    for key in shared:
        if a_by_key[key][0].utterance.text.split() == b_by_key[key][0].utterance.text.split():
            same.append(key)
        else:
            problems.append(Problem(key, "A and B have different transcripts for it"))
    if not same:
        raise InputError("the two results share no item with the same transcript; evaluate both on the same manifest")
    return _Matched(
        tuple(a_by_key[key][0] for key in same),
        tuple((a_by_key[key][0].hypothesis, b_by_key[key][0].hypothesis) for key in same),
        tuple(a_by_key[key][1] for key in same),
        tuple(b_by_key[key][1] for key in same),
        tuple(problems),
    )


def _by_key(
    items: Sequence[ScoredUtterance], alignments: Sequence[Alignment]
) -> dict[str, tuple[ScoredUtterance, Alignment]]:
    """Items by key; the second item of the same key becomes ``key #2`` and so on, as manifests may repeat names."""
    seen: Counter[str] = Counter()
    found = {}
    for item, alignment in zip(items, alignments, strict=True):
        seen[item.key] += 1
        found[item.key if seen[item.key] == 1 else f"{item.key} #{seen[item.key]}"] = (item, alignment)
    return found


def _slice(matched: _Matched, dimension: str, value: str, indices: Integers, resampling: Resampling) -> SliceComparison:
    a, b = ([side[index].words for index in indices] for side in (matched.a, matched.b))
    errors_a, errors_b = (np.array([c.errors for c in side], np.int64) for side in (a, b))
    words = np.array([c.length for c in a], np.int64)
    unit = units_of([matched.items[index] for index in indices])
    test = paired_test(
        errors_a, errors_b, words, [matched.segments[index] for index in indices], unit=unit, config=resampling
    )
    wrong_a, wrong_b = errors_a > 0, errors_b > 0
    return SliceComparison(
        dimension=dimension,
        value=value,
        utterances=len(indices),
        words=int(words.sum()),
        wer_a=float(errors_a.sum() / words.sum()),
        wer_b=float(errors_b.sum() / words.sum()),
        ser_a=float(wrong_a.mean()),
        ser_b=float(wrong_b.mean()),
        fixed=int((wrong_a & ~wrong_b).sum()),
        broken=int((wrong_b & ~wrong_a).sum()),
        test=test,
    )


def _corrected_slices(parts: Sequence[SliceComparison]) -> list[SliceComparison]:
    adjusted: dict[tuple[str, str], float] = {}
    for speakers in (False, True):
        family = [p for p in parts if p.test.units >= MIN_UNITS and (p.dimension == "speaker") == speakers]
        names = [(part.dimension, part.value) for part in family]
        adjusted.update(zip(names, holm([part.test.p_value for part in family]), strict=True))
    return [replace(part, p_holm=adjusted.get((part.dimension, part.value))) for part in parts]


def _words(matched: _Matched) -> tuple[WordComparison, ...]:
    outcomes: dict[str, Counter[tuple[bool, bool]]] = {}
    for a, b in zip(matched.a, matched.b, strict=True):
        spoken_a = [pair for pair in a.pairs if pair[0]]
        spoken_b = [pair for pair in b.pairs if pair[0]]
        for (word, heard_a), (_, heard_b) in zip(spoken_a, spoken_b, strict=True):
            outcomes.setdefault(word, Counter())[heard_a != word, heard_b != word] += 1
    p_values = {word: mcnemar_p(o[True, False], o[False, True]) for word, o in outcomes.items()}
    tested = [word for word, outcome in outcomes.items() if outcome.total() >= MIN_COUNT]
    adjusted = dict(zip(tested, holm([p_values[word] for word in tested]), strict=True))
    found = [
        WordComparison(
            word,
            outcome.total(),
            outcome[True, False] + outcome[True, True],
            outcome[False, True] + outcome[True, True],
            p_values[word],
            adjusted.get(word),
        )
        for word, outcome in outcomes.items()
    ]
    return tuple(sorted(found, key=lambda w: (-abs(w.missed_b - w.missed_a), -w.count, w.word)))


def _kind(before: int, after: int) -> FlipKind:
    if after > before:
        return "worse" if before else "broken"
    return "better" if after else "fixed"


def _flips(matched: _Matched) -> tuple[Flip, ...]:
    found = []
    for item, hypotheses, a, b in zip(matched.items, matched.hypotheses, matched.a, matched.b, strict=True):
        before, after = a.words.errors, b.words.errors
        if before == after:
            continue
        found.append(
            Flip(item.key, _kind(before, after), " ".join(item.utterance.text.split()), *hypotheses, before, after)
        )
    order = get_args(FlipKind)
    return tuple(sorted(found, key=lambda f: (order.index(f.kind), -abs(f.errors_b - f.errors_a), f.item)))
