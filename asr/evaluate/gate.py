"""Whether a new bundle may take the place of another: the new names are recognised, and nothing else got worse.

Every check compares two runs on the same items (`asr.evaluate.compare`), so chance is told from change by the same
tests that `dengar compare` prints. A check passes, fails, or is left out because there is nothing to judge by, which is
said. Without new names in quiet and a set of general speech there is no verdict worth the name, and the bundle fails.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass as validated

from asr.evaluate.compare import Comparison, SliceComparison, compare
from asr.evaluate.results import Results, ScoredUtterance
from asr.evaluate.statistics import Resampling, holm, mcnemar_p
from asr.synth.names import mentions

Outcome = Literal["passed", "failed", "left out"]
Share = Annotated[float, Field(ge=0, le=1)]


@validated(frozen=True, config={"extra": "forbid"})
class GateConfig:
    """What a bundle must hold to; the one place of all thresholds (``data/gate.yaml``).

    Attributes:
        min_name_recall: share of the utterances with a new name, in quiet, in which the full name is recognised.
        min_name_recall_car: the same in the car.
        min_name_gain: by how much the recall in quiet must exceed the served bundle's.
        max_wer_change: the upper bound of the change of the word error rate on general speech, and in the car, must
            be lower; 0.005 is half a point.
        level: of that one-sided bound.
        slice_words: slices of fewer reference words are not judged by themselves; a whole set of fewer must only not be
            worse beyond chance (`slice_alpha`), since one word of it is more than `max_wer_change`.
        slice_alpha: a slice has lost if its p-value, corrected for their number (Holm 1979), is lower.
        lost_names_alpha: names learned before are lost if McNemar's one-sided p-value is lower.
        max_rtf: processor seconds for a second of audio.
        max_slowdown: how many times those of the served bundle.
        max_bytes: of all files of the bundle.
        resamples: bootstrap replicates behind each bound.
        seed: of them.
    """

    min_name_recall: Share = 0.8
    min_name_recall_car: Share = 0.6
    min_name_gain: Share = 0.0
    max_wer_change: Annotated[float, Field(ge=0, le=1)] = 0.005
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    slice_words: Annotated[int, Field(ge=1)] = 500
    slice_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    lost_names_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    max_rtf: Annotated[float, Field(gt=0)] = 0.2
    max_slowdown: Annotated[float, Field(ge=1)] = 1.5
    max_bytes: Annotated[int, Field(ge=1)] = 60_000_000
    resamples: Annotated[int, Field(ge=100)] = 2000
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """What two bundles heard in the same items.

    Attributes:
        name: of the set, for people: "dev", "dev in the car, 10 dB".
        before: the served bundle.
        after: the one in question.
    """

    name: str
    before: Results
    after: Results


@dataclass(frozen=True, slots=True)
class Sizes:
    """What two bundles weigh, in bytes."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the new bundle.

    Attributes:
        name: which.
        outcome: of it.
        value: what was measured; None where it could not be.
        threshold: what it was held against.
        reason: both in a sentence.
    """

    name: str
    outcome: Outcome
    value: float | None
    threshold: float
    reason: str


@dataclass(frozen=True, slots=True)
class NameRecall:
    """How often a name was recognised in full, of how many utterances, before and after."""

    name: str
    utterances: int
    before: int
    after: int
    utterances_car: int
    before_car: int
    after_car: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bundle may be served, and why.

    Attributes:
        passed: no check failed.
        checks: all of them, in order.
        names: recall of the new names, name by name.
        settings: thresholds and what was heard.
    """

    passed: bool
    checks: tuple[Check, ...]
    names: tuple[NameRecall, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def reasons(self) -> list[str]:
        """Of the checks that failed, or of all if none did."""
        failed = [check.reason for check in self.checks if check.outcome == "failed"]
        return failed or [check.reason for check in self.checks]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        value: dict[str, Any] = TypeAdapter(Verdict).dump_python(self, mode="json")
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """Reads what `to_json` gave."""
        return TypeAdapter(Verdict).validate_python(value)


def judge(
    config: GateConfig,
    *,
    general: Sequence[Pair],
    new_names: Collection[str],
    names_quiet: Pair | None = None,
    names_car: Pair | None = None,
    old_names: Collection[str] = (),
    old_quiet: Pair | None = None,
    sizes: Sizes | None = None,
) -> Verdict:
    """Holds one bundle against another.

    Args:
        config: thresholds.
        general: sets of general speech, in quiet and in the car.
        new_names: that were to be learned, as spoken.
        names_quiet: utterances with them, by voices that learning never used.
        names_car: the same in the car.
        old_names: that were learned before.
        old_quiet: utterances with those.
        sizes: of the two bundles.

    Returns:
        The verdict; a check that lacks what it judges by is left out, with that reason.
    """
    checks = [
        _needed(_recall("new names in quiet", names_quiet, new_names, config.min_name_recall, config.min_name_gain)),
        _recall("new names in the car", names_car, new_names, config.min_name_recall_car, 0.0),
    ]
    # One-sided: of a two-sided interval that holds 2 * level - 1 the upper end is exceeded with 1 - level.
    resampling = Resampling(resamples=config.resamples, level=max(0.51, 2 * config.level - 1), seed=config.seed)
    for pair in general:
        comparison = compare(pair.before, pair.after, resampling=resampling)
        checks += [_change(pair.name, comparison.overall, config), _slices(pair.name, comparison, config)]
    if not general:
        why = "no set of general speech is configured"
        checks.append(_needed(_absent("general speech", config.max_wer_change, why)))
    checks += [_lost(old_quiet, old_names, config), *_costs(general, sizes, config)]
    return Verdict(
        passed=all(check.outcome != "failed" for check in checks),
        checks=tuple(checks),
        names=tuple(recalls(new_names, names_quiet, names_car)),
        settings={"gate": asdict(config), "sets": [pair.name for pair in general]},
    )


def hits(results: Results, names: Collection[str]) -> dict[str, tuple[str, bool]]:
    """For each item whose transcript holds a name: which (the longest), and whether it was recognised in full.

    An item that could not be recognised counts as missed. A possessive ("rosalia's") counts as the name.
    """
    found: dict[str, tuple[str, bool]] = {}
    for item in results.items:
        name = name_in(item, names)
        if name is not None:
            found[item.key] = (name, mentions(item.hypothesis, {name}))
    return found


def name_in(item: ScoredUtterance, names: Collection[str]) -> str | None:
    """The longest of the names that an item's transcript holds, or None."""
    return max((name for name in names if mentions(item.utterance.text, {name})), key=len, default=None)


def recalls(names: Collection[str], quiet: Pair | None, car: Pair | None) -> list[NameRecall]:
    """Recall name by name, before and after, in quiet and in the car."""
    counts = {name: [0, 0, 0, 0, 0, 0] for name in names}
    for place, pair in ((0, quiet), (3, car)):
        if pair is None:
            continue
        before = hits(pair.before, names)
        for key, (name, after) in hits(pair.after, names).items():
            counts[name][place] += 1
            counts[name][place + 1] += before.get(key, ("", False))[1]
            counts[name][place + 2] += after
    return [NameRecall(name, *row) for name, row in counts.items()]


def _share(outcomes: Mapping[str, tuple[str, bool]]) -> float:
    return sum(right for _, right in outcomes.values()) / len(outcomes)


def _absent(name: str, threshold: float, why: str) -> Check:
    return Check(name, "left out", None, threshold, f"{name}: not judged, {why}")


def _needed(check: Check) -> Check:
    """A check without which nothing passes."""
    return replace(check, outcome="failed") if check.outcome == "left out" else check


def _recall(name: str, pair: Pair | None, names: Collection[str], least: float, gain: float) -> Check:
    after = hits(pair.after, names) if pair else {}
    if pair is None or not after:
        return _absent(name, least, "there are no utterances with them")
    value, before = _share(after), _share(hits(pair.before, names) or {"": ("", False)})
    passed = value >= least and value - before >= gain
    more = f" and {gain:.0%} more than before" if gain else ""
    reason = f"{name}: {value:.1%} of {len(after)} recognised in full, before {before:.1%}; wanted {least:.0%}{more}"
    return Check(name, "passed" if passed else "failed", value, least, reason)


def _change(name: str, overall: SliceComparison, config: GateConfig) -> Check:
    title = f"word errors on {name}"
    high = overall.test.high
    if high is None or math.isnan(high):
        return _absent(title, config.max_wer_change, "one utterance or speaker tells nothing of chance")
    reason = (
        f"{title}: {overall.wer_a:.2%} before, {overall.wer_b:.2%} after, a change of at most {100 * high:+.2f} points "
        f"({config.level:.0%} bound, {overall.words} words); allowed {100 * config.max_wer_change:+.2f}"
    )
    if overall.words < config.slice_words and high >= config.max_wer_change:
        # One word is more of so small a set than the change that is allowed: it can only show a loss that is certain.
        worse = overall.test.difference > 0 and overall.test.p_value < config.slice_alpha
        reason += f"; too few words for that: a loss if p < {config.slice_alpha:g}, p = {overall.test.p_value:.3f}"
        return Check(title, "failed" if worse else "passed", high, config.max_wer_change, reason)
    return Check(title, "passed" if high < config.max_wer_change else "failed", high, config.max_wer_change, reason)


def _slices(name: str, comparison: Comparison, config: GateConfig) -> Check:
    title = f"slices of {name}"
    large = [part for part in comparison.slices if part.words >= config.slice_words and part.dimension != "speaker"]
    if not large:
        return _absent(title, config.slice_alpha, f"no slice has {config.slice_words} words")
    corrected = holm([part.test.p_value for part in large])
    lost = [
        (p, part)
        for p, part in zip(corrected, large, strict=True)
        if part.test.difference > 0 and p < config.slice_alpha
    ]
    if not lost:
        value = min((p for p, part in zip(corrected, large, strict=True) if part.test.difference > 0), default=1.0)
        reason = f"{title}: none of {len(large)} lost significantly (lowest corrected p of those that lost {value:.3f})"
        return Check(title, "passed", value, config.slice_alpha, reason)
    p, worst = min(lost, key=lambda pair: pair[0])
    reason = (
        f"{title}: {len(lost)} of {len(large)} lost significantly, most so {worst.dimension} {worst.value}, "
        f"{worst.wer_a:.1%} before and {worst.wer_b:.1%} after (corrected p {p:.4f})"
    )
    return Check(title, "failed", p, config.slice_alpha, reason)


def _lost(pair: Pair | None, names: Collection[str], config: GateConfig) -> Check:
    title = "names learned before"
    if not names:
        return _absent(title, config.lost_names_alpha, "there are none")
    before, after = (hits(pair.before, names), hits(pair.after, names)) if pair else ({}, {})
    shared = before.keys() & after.keys()
    if not shared:
        return _absent(title, config.lost_names_alpha, "there are no utterances with them")
    lost = sum(before[key][1] and not after[key][1] for key in shared)
    won = sum(after[key][1] and not before[key][1] for key in shared)
    p = mcnemar_p(lost, won) / 2 if lost > won else 1.0
    reason = (
        f"{title}: {_share(before):.1%} recognised before, {_share(after):.1%} after ({lost} of {len(shared)} "
        f"utterances lost, {won} won, one-sided p {p:.3f})"
    )
    return Check(title, "failed" if p < config.lost_names_alpha else "passed", p, config.lost_names_alpha, reason)


def _costs(general: Sequence[Pair], sizes: Sizes | None, config: GateConfig) -> list[Check]:
    checks = []
    rtf_before, rtf_after = (
        _rtf([getattr(pair, side) for pair in general]) if general else None for side in ("before", "after")
    )
    if rtf_before and rtf_after:
        passed = rtf_after <= config.max_rtf and rtf_after <= config.max_slowdown * rtf_before
        reason = (
            f"cost: {rtf_after:.4f} processor seconds for a second of audio, before {rtf_before:.4f}; allowed "
            f"{config.max_rtf:g} and {config.max_slowdown:g} times as much"
        )
        checks.append(Check("cost", "passed" if passed else "failed", rtf_after, config.max_rtf, reason))
    else:
        checks.append(_absent("cost", config.max_rtf, "it was not measured"))
    if sizes is None:
        return [*checks, _absent("size", config.max_bytes, "it was not measured")]
    reason = f"size: {sizes.after / 1e6:.1f} MB, before {sizes.before / 1e6:.1f}; allowed {config.max_bytes / 1e6:.0f}"
    outcome: Outcome = "passed" if sizes.after <= config.max_bytes else "failed"
    return [*checks, Check("size", outcome, sizes.after, config.max_bytes, reason)]


def _rtf(runs: Sequence[Results]) -> float | None:
    audio_s = sum(item.audio_s for run in runs for item in run.items)
    processor_s = sum(item.processor_s for run in runs for item in run.items)
    return processor_s / audio_s if audio_s and processor_s else None
