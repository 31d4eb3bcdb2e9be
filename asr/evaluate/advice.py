"""What to do next, by stated rules; each advice carries the figures it rests on. docs/reports.md explains every rule.

A rule speaks only where there is something to gain: the word error rate would fall by at least `MATERIAL_SHARE` of
itself if the advice did all that it can, and the difference behind it is no chance (an interval or a test says so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from asr.evaluate.findings import Advice, Breakdown, Findings, Gap, GapKind, GroupRate, Rung
from asr.evaluate.statistics import holm

MATERIAL_SHARE = 0.02
SIGNIFICANT = 0.05
SLICE_DIMENSIONS = ("corpus", "length")
"""Gender, age and accent are left to the rule "fairness", which does not confuse them with corpora."""
SLICES_NAMED = 3
BALANCE_RATIO = 2.0
BALANCE_SHARE = 0.15
BOUNDARY_SHARE = 0.10
CALIBRATION_ERROR = 0.05

_OPTIONS = {
    "reference": "--reference 'NAME=RATE'",
    "train": "--train RESULTS",
    "train_dev": "--train-dev RESULTS",
    "dev": "results in quiet",
    "car": "--car RESULTS",
}


def advise(findings: Findings) -> tuple[Advice, ...]:
    """Applies every rule of `RULES`; most to gain first, then those without a number."""
    found = [advice for rule in RULES.values() for advice in rule(findings)]
    return tuple(sorted(found, key=lambda advice: (advice.gain is None, -(advice.gain or 0.0))))


def bias(findings: Findings) -> Iterator[Advice]:
    """Training error far above what a person or a reference system reaches: the model is too small or undertrained."""
    for gap in _gaps(findings, "bias"):
        lower = "zero, as no reference was given" if gap.lower == "perfect" else gap.lower
        yield Advice(
            "bias",
            "A larger model or longer training: even on the data that it was trained on the model makes "
            f"{_points(gap)} points more errors than {lower}.",
            _figures(gap),
            gap.difference.value,
        )


def variance(findings: Findings) -> Iterator[Advice]:
    """Held-out error far above the training error: the model knows its training data by heart."""
    for gap in _gaps(findings, "variance"):
        yield Advice(
            "variance",
            "Regularise (SpecAugment, dropout, checkpoint averaging) or train on more data of the same kind (hours, "
            "speed perturbation, synthetic speech): on held-out data of the training distribution the model makes "
            f"{_points(gap)} points more errors than on the data it was trained on{_most_of_all(gap)}.",
            _figures(gap),
            gap.difference.value,
        )


def mismatch(findings: Findings) -> Iterator[Advice]:
    """The test far above the held-out error: the training data are of another kind than the test."""
    for gap in _gaps(findings, "mismatch"):
        slices = [
            part.result for part in findings.slices if part.result.dimension == "corpus" and part.errors_saved > 0
        ]
        kinds = f", most of all {slices[0].value} (WER {_percent(slices[0].wer.value)} %)" if slices else ""
        yield Advice(
            "mismatch",
            f"More training data of the test's kind{kinds}: the test makes {_points(gap)} points more errors than "
            "held-out data of the training distribution.",
            _figures(gap),
            gap.difference.value,
        )


def noise(findings: Findings) -> Iterator[Advice]:
    """The car far above quiet: augment with the noise that costs most."""
    for gap in _gaps(findings, "noise"):
        car = _rung(findings, "car")
        quiet = _rung(findings, "dev")
        floor = (quiet.wer.value or 0.0) if quiet and quiet.wer else 0.0
        conditions = car.conditions if car else ()
        worst = max(conditions, key=lambda group: group.errors - floor * group.words, default=None)
        figures = _figures(gap)
        what = "noise"
        if worst is not None and worst.rate.value is not None:
            figures |= {f"wer in {worst.group}": worst.rate.value}
            what = f"{worst.group} and louder (WER {_percent(worst.rate.value)} % there)"
        yield Advice(
            "noise",
            f"Augment the training data with noise as in the car, above all {what}: noise adds {_points(gap)} points "
            f"to the {_percent(floor)} % in quiet.",
            figures,
            gap.difference.value,
        )


def slices(findings: Findings) -> Iterator[Advice]:
    """A corpus or a length that is worse than the rest and makes up many errors: more data of that kind."""
    tested = [part for part in findings.slices if part.enough and part.p_value is not None]
    corrected = holm([part.p_value for part in tested if part.p_value is not None])
    whole = findings.evaluation.overall
    chosen = [
        (part, part.errors_saved / whole.words)
        for part, p_holm in zip(tested, corrected, strict=True)
        if p_holm < SIGNIFICANT
        and part.result.dimension in SLICE_DIMENSIONS
        and _material(findings, part.errors_saved / whole.words)
    ]
    for part, gain in sorted(chosen, key=lambda entry: -entry[1])[:SLICES_NAMED]:
        result = part.result
        what = (
            f"utterances of {result.value}" if result.dimension == "length" else f"speech like that of {result.value}"
        )
        yield Advice(
            "slice",
            f"More {what}: WER {_percent(result.wer.value)} % against {_percent(part.rest_wer)} % for the rest, and "
            f"{_percent(result.error_share)} % of all errors; were it as good as the rest, the whole would fall from "
            f"{_percent(whole.wer.value)} to {_percent(part.wer_if_fixed)} %.",
            {
                "wer": result.wer.value or 0.0,
                "rest": part.rest_wer or 0.0,
                "share of errors": result.error_share,
                "wer of the whole if fixed": part.wer_if_fixed or 0.0,
                "p": part.p_value or 0.0,
            },
            gain,
        )


def unknown_words(findings: Findings) -> Iterator[Advice]:
    """Words outside the vocabulary are missed more than the others: teach them."""
    yield from _worse_words(
        findings,
        ("unknown words", "vocabulary", "unknown", "known"),
        "Teach the unknown words: add them to the language model and the lexicon, and synthesise sentences with them",
    )


def names(findings: Findings) -> Iterator[Advice]:
    """Names are missed more than other words: train on more names, and bias towards the user's own."""
    yield from _worse_words(
        findings,
        ("names", "names", "names", "other words"),
        "More names: synthesise queries with them for training and for the language model",
    )


def first_words(findings: Findings) -> Iterator[Advice]:
    """The first word is missed more than those in the middle: the model starts cold."""
    yield from _worse_words(
        findings,
        ("first word", "position", "first", "middle"),
        "Let the model warm up: train on audio that begins with noise or silence of random length, and open the "
        "microphone earlier",
    )


def last_words(findings: Findings) -> Iterator[Advice]:
    """The last word is missed more than those in the middle: the end of the audio comes too soon."""
    yield from _worse_words(
        findings,
        ("last word", "position", "last", "middle"),
        "Look after the ends: train on audio with noise or silence of random length behind the last word, and check "
        "the endpointer and the end of a stream",
    )


def pace(findings: Findings) -> Iterator[Advice]:
    """The fastest or the slowest speech is worse than the whole: speed perturbation towards it."""
    breakdown = _breakdown(findings, "rate")
    whole = findings.evaluation.overall
    if breakdown is None or whole.wer.value is None:
        return
    for group in breakdown.groups:
        if (group.low is None) == (group.high is None):
            continue  # neither the slowest nor the fastest
        gain = (group.errors - whole.wer.value * group.words) / whole.words
        if whole.wer.high is not None and (group.rate.low or 0.0) > whole.wer.high and _material(findings, gain):
            kind, change = ("fast", "sped up") if group.high is None else ("slow", "slowed down")
            yield Advice(
                "pace",
                f"Perturb the speed more widely, with more speech {change}: in {kind} speech ({group.group} words per "
                f"second) WER is {_percent(group.rate.value)} % against {_percent(whole.wer.value)} % overall.",
                {"wer": group.rate.value or 0.0, "overall": whole.wer.value},
                gain,
            )


def balance(findings: Findings) -> Iterator[Advice]:
    """Many more words dropped than made up, or the reverse: the decoder's weights are out of balance."""
    whole = findings.evaluation.overall
    many, few = max(whole.deletions, whole.insertions), min(whole.deletions, whole.insertions)
    surplus = many - few
    if not whole.words or many < BALANCE_RATIO * few or surplus < BALANCE_SHARE * whole.word_errors or not surplus:
        return
    if not _material(findings, surplus / whole.words):
        return
    dropped = whole.deletions > whole.insertions
    yield Advice(
        "balance",
        f"{'Raise' if dropped else 'Lower'} the decoder's word bonus (tune the decoder again): {whole.deletions} words "
        f"were dropped and {whole.insertions} made up.",
        {"deletions": whole.deletions, "insertions": whole.insertions, "errors": whole.word_errors},
        surplus / whole.words,
    )


def boundaries(findings: Findings) -> Iterator[Advice]:
    """Words heard with their boundaries elsewhere: the sounds were right, a language model would know the words."""
    moved = sum(findings.steps.get(kind, 0) for kind in ("split", "merge", "shift"))
    errors = sum(count for kind, count in findings.steps.items() if kind != "hit")
    gain = moved / findings.evaluation.overall.words if findings.evaluation.overall.words else 0.0
    if errors and moved >= BOUNDARY_SHARE * errors and _material(findings, gain):
        yield Advice(
            "boundaries",
            f"A stronger language model (more text, or more weight): in {moved} of {errors} errors as read, words of "
            "like spelling were heard with their boundaries elsewhere.",
            {"moved": moved, "errors as read": errors},
            gain,
        )


def confidence(findings: Findings) -> Iterator[Advice]:
    """Confidences that cannot be believed."""
    found = findings.calibration
    if (
        found.ece.low is not None
        and found.ece.low > CALIBRATION_ERROR
        and found.confidence
        and found.accuracy is not None
    ):
        yield Advice(
            "confidence",
            f"Calibrate the confidences: on average words claim {_percent(found.confidence)} % and "
            f"{_percent(found.accuracy)} % are right (expected calibration error {_percent(found.ece.value)} %).",
            {"ece": found.ece.value or 0.0, "confidence": found.confidence, "accuracy": found.accuracy},
            None,
        )


def fairness(findings: Findings) -> Iterator[Advice]:
    """A group of speakers is served worse than another of the same corpus."""
    largest = findings.fairness.largest
    if largest is None:
        return
    words = sum(
        group.words
        for group in findings.fairness.groups
        if (group.corpus, group.dimension, group.group) == (largest.corpus, largest.dimension, largest.worse)
    )
    value = largest.difference.value or 0.0
    yield Advice(
        "fairness",
        f"More speech of {largest.dimension} {largest.worse}: within {largest.corpus} WER is {100 * value:.1f} points "
        f"higher than for {largest.better}.",
        {"difference": value, "p": largest.p_holm or 0.0},
        value * words / findings.evaluation.overall.words,
    )


def missing(findings: Findings) -> Iterator[Advice]:
    """A rung of the ladder that is not there."""
    present = {rung.kind for rung in findings.ladder.rungs if rung.wer is not None}
    absent = [kind for kind in _OPTIONS if kind not in present]
    for kind, sentence in zip(absent, findings.ladder.missing, strict=True):
        yield Advice("measure", f"Measure what is missing ({_OPTIONS[kind]}): {sentence}.", {}, None)


RULES: Mapping[str, Callable[[Findings], Iterator[Advice]]] = {
    "bias": bias,
    "variance": variance,
    "mismatch": mismatch,
    "noise": noise,
    "slice": slices,
    "unknown words": unknown_words,
    "names": names,
    "first word": first_words,
    "last word": last_words,
    "pace": pace,
    "balance": balance,
    "boundaries": boundaries,
    "fairness": fairness,
    "confidence": confidence,
    "measure": missing,
}


def _gaps(findings: Findings, kind: GapKind) -> list[Gap]:
    """The clear and material gap of one kind; of several kinds that cannot be told apart the rule "measure" speaks."""
    return [
        gap
        for gap in findings.ladder.gaps
        if gap.kind == kind and gap.clear and _material(findings, gap.difference.value or 0.0)
    ]


def _worse_words(findings: Findings, rule: tuple[str, str, str, str], what: str) -> Iterator[Advice]:
    """One group of words of a breakdown missed more than another, beyond their intervals."""
    name, breakdown_name, bad, good = rule
    groups = {group.group: group for group in getattr(_breakdown(findings, breakdown_name), "groups", ())}
    if bad not in groups or good not in groups:
        return
    worse, better = groups[bad], groups[good]
    gain = _excess(worse, better) / findings.evaluation.overall.words
    if not _apart(worse, better) or not _material(findings, gain):
        return
    missed = sum(group.errors for group in groups.values())
    yield Advice(
        name,
        f"{what}: {_percent(worse.rate.value)} % of {_plural(bad)} are missed against {_percent(better.rate.value)} % "
        f"of {_plural(good)}; they are {_percent(worse.errors / missed)} % of all missed words.",
        {
            f"missed of {_plural(bad)}": worse.rate.value or 0.0,
            f"missed of {_plural(good)}": better.rate.value or 0.0,
            "share of missed words": worse.errors / missed,
        },
        gain,
    )


def _material(findings: Findings, gain: float) -> bool:
    """Whether so much WER is worth speaking of."""
    return gain > 0 and gain >= MATERIAL_SHARE * (findings.evaluation.overall.wer.value or 0.0)


def _excess(worse: GroupRate, better: GroupRate) -> float:
    """Errors that `worse` would not have at the rate of `better`."""
    return worse.errors - (better.rate.value or 0.0) * worse.words


def _apart(worse: GroupRate, better: GroupRate) -> bool:
    """Whether the interval of `worse` lies above that of `better`."""
    return worse.rate.low is not None and better.rate.high is not None and worse.rate.low > better.rate.high


def _breakdown(findings: Findings, name: str) -> Breakdown | None:
    return next((found for found in findings.breakdowns if found.name == name), None)


def _rung(findings: Findings, kind: str) -> Rung | None:
    return next((rung for rung in findings.ladder.rungs if rung.kind == kind and rung.wer is not None), None)


def _figures(gap: Gap) -> dict[str, float]:
    rate = gap.difference
    figures = {"gap": rate.value, "low": rate.low, "high": rate.high}
    return {name: value for name, value in figures.items() if value is not None}


def _most_of_all(gap: Gap) -> str:
    """The corpus with the largest step, where it has one of several."""
    worst = gap.corpora[0] if gap.corpora else None
    if worst is None or not worst.clear or not worst.corpus:
        return ""
    return f", most of all in {worst.corpus} ({100 * (worst.difference.value or 0.0):.1f} points)"


def _points(gap: Gap) -> str:
    return f"{100 * (gap.difference.value or 0.0):.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _plural(group: str) -> str:
    return group if group in ("names", "other words") else f"{group} words"
