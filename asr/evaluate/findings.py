"""What a report says about one run: the values behind `dengar report`, which travel as JSON.

`asr.evaluate.analyse.analyse` fills them; `asr.evaluate.report.report_html(findings, *, comparison=None, audio=None,
audio_budget_mb=5.0)` draws them, where `audio` gives the samples of a `ReadUtterance` or None. Rates are fractions;
every `Rate` has its interval beside it. Lists stand in the order in which they are to be read: worst, largest or most
frequent first, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from asr.evaluate.evaluation import CalibrationBin, Evaluation, Rate, SliceResult
from asr.evaluate.fairness_types import Fairness

StepKind = Literal["hit", "substitution", "deletion", "insertion", "split", "merge", "shift"]
"""What became of a stretch of words; `split`, `merge` and `shift` are one word (or name) whose boundaries were heard
elsewhere: as more words, as fewer, or as equally many."""

RungKind = Literal["reference", "train", "train_dev", "dev", "car"]
GapKind = Literal["bias", "variance", "mismatch", "noise", "mixed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a spelling-aware alignment (see `asr.evaluate.reading`), to be read as one thing.

    Attributes:
        kind: "hit" or which error; every step that is no hit reads as one error.
        reference: the words spoken, between spaces; "" for an insertion.
        hypothesis: the words heard; "" for a deletion. A `split` is ("taylor", "tay lor").
    """

    kind: StepKind
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class ReadUtterance:
    """One utterance of the report's list.

    Attributes:
        index: of the item in `Results.items`, to find its audio.
        key: names the item within the test: recording and noise.
        corpus, speaker, gender, age, accent: as in the manifest, "" where unknown.
        condition: the noise it was heard in ("cabin 5 dB"), or "clean".
        duration_s: of the audio.
        confidence: of the whole hypothesis.
        words: in the reference.
        errors: word errors as the WER counts them (jiwer).
        read_errors: errors as they read: steps that are no hit.
        steps: the alignment, in the order of the words.
    """

    index: int
    key: str
    corpus: str
    speaker: str
    gender: str
    age: str
    accent: str
    condition: str
    duration_s: float
    confidence: float
    words: int
    errors: int
    read_errors: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class SliceFinding:
    """A slice, and what it costs the whole test.

    Attributes:
        result: its rates, counts and share of all errors.
        rest_wer: WER of all other items; None if there are none.
        wer_if_fixed: WER of the whole test if this slice were as good as the rest; that of the whole where the slice
            is no worse than the rest.
        errors_saved: word errors that would then be gone.
        p_value: two-sided, of a difference between the slice and the rest (`asr.evaluate.differences.group_p`); None
            where either has too few units to test, or the same units stand on both sides.
        enough: whether it has at least `MIN_UNITS` units; a slice without is never the ground of advice.
        only_in: the corpus that holds all of a gender, an age or an accent, where the test has others too: such a
            slice cannot be told from its corpus; else "".
    """

    result: SliceResult
    rest_wer: float | None
    wer_if_fixed: float | None
    errors_saved: float
    p_value: float | None
    enough: bool
    only_in: str = ""


@dataclass(frozen=True, slots=True)
class WordFinding:
    """One word in the references, or made up.

    Attributes:
        word: the word.
        count: times spoken for missed words; times heard, rightly or not, for inserted ones.
        errors: times missed, or times heard where nothing was spoken.
        rate: errors per count with its Wilson interval, which takes occurrences as independent.
        known: whether it is in the vocabulary; None if none was given.
        name: whether it is a name.
        heard_as: for missed words, what was heard instead ("" for nothing) and how often, most frequent first.
    """

    word: str
    count: int
    errors: int
    rate: Rate
    known: bool | None
    name: bool
    heard_as: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ConfusionFinding:
    """Words heard as others, from the spelling-aware alignment.

    Attributes:
        kind: "substitution", "split", "merge" or "shift".
        reference, hypothesis: the words, between spaces where several.
        count: how often.
        spoken: how often the reference's words were spoken at all.
        rate: count per spoken with its Wilson interval.
    """

    kind: StepKind
    reference: str
    hypothesis: str
    count: int
    spoken: int
    rate: Rate


@dataclass(frozen=True, slots=True)
class GroupRate:
    """One group of a breakdown.

    Attributes:
        group: its name.
        utterances: that hold any of it.
        words: of the references, in the group.
        errors: see `Breakdown.measure`.
        inserted: made-up words beside the group's words (before the word, or after the utterance's last one).
        rate: errors per word with its bootstrap interval over speakers or recordings.
        low, high: the group's range [low, high) where it is a range of numbers; None for an open end, or if it is none.
    """

    group: str
    utterances: int
    words: int
    errors: int
    inserted: int
    rate: Rate
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The test divided into groups of words or of utterances, in natural order.

    Attributes:
        name: "vocabulary" (known and unknown words), "names" (names and the rest), "position" (in the utterance),
            "length" (words in the utterance), "rate" (words per second), "snr" (dB) or "confidence" (tenths of the
            utterances by confidence, least sure first).
        title: to stand above it.
        measure: "missed": errors are words of the reference that were not recognised, insertions apart;
            "wer": errors are all word errors of the group's utterances.
        groups: those that hold any word.
    """

    name: str
    title: str
    measure: Literal["missed", "wer"]
    groups: tuple[GroupRate, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far word confidences can be believed.

    Attributes:
        bins: of equal width, those that hold any word.
        words: recognised words with a confidence.
        ece: expected calibration error: mean of |accuracy - confidence| over the bins by their words (Guo et al., "On
            calibration of modern neural networks", ICML 2017), with its bootstrap interval.
        confidence: mean confidence; None without words.
        accuracy: share of the words that are right; None without words.
    """

    bins: tuple[CalibrationBin, ...]
    words: int
    ece: Rate
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of the bias/variance ladder.

    Attributes:
        kind: "reference" (a person or another system), "train" (data trained on), "train_dev" (held out of the
            training data), "dev" (the test in quiet) or "car" (the test in noise).
        name: to print: "training error", "tiny.en offline" ...
        wer: None where missing; a given number has no interval.
        utterances, words: 0 for a missing or given one.
        source: the results it comes from, "given" for a number, "missing" for none.
        conditions: of "car", the noises it is made of ("cabin 5 dB"), by kind and from quiet to loud; errors are all
            word errors.
    """

    kind: RungKind
    name: str
    wer: Rate | None
    utterances: int
    words: int
    source: str
    conditions: tuple[GroupRate, ...] = ()


@dataclass(frozen=True, slots=True)
class CorpusGap:
    """The step from one rung to the next within a corpus that both have.

    Attributes:
        corpus: its name.
        lower, upper: its WER on each rung.
        difference: upper minus lower, with its interval.
    """

    corpus: str
    lower: Rate
    upper: Rate
    difference: Rate

    @property
    def clear(self) -> bool:
        """Whether the interval lies wholly above zero."""
        return self.difference.low is not None and self.difference.low > 0


@dataclass(frozen=True, slots=True)
class Gap:
    """The step from one known rung to the next.

    Attributes:
        kind: what it stands for: "bias" (reference to train), "variance" (train to train_dev), "mismatch" (train_dev to
            dev), "noise" (dev to car), or "mixed" where a rung between is missing.
        causes: for "mixed", the kinds that cannot be told apart; else the kind alone.
        lower, upper: names of the rungs; lower is "perfect" where no reference was given.
        difference: upper minus lower, with a bootstrap interval in which speakers and recordings that both rungs
            have are drawn together; a given number counts as exact. Bias, variance and noise are compared like for
            like where the rungs hold the same corpora in other shares (see `asr.evaluate.like_for_like`).
        clear: whether the interval lies wholly above zero.
        as_they_stand: difference of the rungs' rates as printed, where `difference` weighs corpora alike; else None.
        corpora: the step within each corpus that both rungs have, largest first; empty with a single corpus.
    """

    kind: GapKind
    causes: tuple[GapKind, ...]
    lower: str
    upper: str
    difference: Rate
    clear: bool
    as_they_stand: float | None = None
    corpora: tuple[CorpusGap, ...] = ()


@dataclass(frozen=True, slots=True)
class Ladder:
    """The bias/variance ladder of the case study.

    Attributes:
        rungs: all of them from bottom to top, missing ones too; references first, lowest first.
        gaps: between known neighbours.
        largest: index into `gaps` of the largest clear gap; None where no gap is clear.
        missing: names of missing rungs, and what their absence hides, as sentences.
    """

    rungs: tuple[Rung, ...]
    gaps: tuple[Gap, ...]
    largest: int | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do, from a stated rule.

    Attributes:
        rule: the rule's name in `asr.evaluate.advice` and docs/reports.md.
        text: what to do and why, in one or two sentences with the figures.
        figures: the numbers it rests on, by name; rates as fractions.
        gain: at most so much WER (a fraction) is to be had; None if it cannot be said, as for a missing measurement.
    """

    rule: str
    text: str
    figures: dict[str, float]
    gain: float | None


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a report says about one run.

    Attributes:
        evaluation: rates, slices in natural order, what failed or was left out, settings (`settings["bundle"]`,
            `settings["bundle_hash"]`, `settings["manifests"]` ...).
        slices: of dimensions that divide the test, worst WER first, those with too few units at the end.
        utterances: most errors first.
        steps: how many steps of each kind the spelling-aware alignments have in all.
        confusions: most frequent first.
        missed: words most often missed first.
        inserted: words most often made up first.
        breakdowns: see `Breakdown.name`; one that needs what was not given (a vocabulary, noise) is absent.
        calibration: of word confidences.
        ladder: bias and variance.
        advice: what to do next, most to gain first; missing measurements last.
        fairness: between groups of speakers.
    """

    evaluation: Evaluation
    slices: tuple[SliceFinding, ...]
    utterances: tuple[ReadUtterance, ...]
    steps: dict[StepKind, int]
    confusions: tuple[ConfusionFinding, ...]
    missed: tuple[WordFinding, ...]
    inserted: tuple[WordFinding, ...]
    breakdowns: tuple[Breakdown, ...]
    calibration: Calibration
    ladder: Ladder
    advice: tuple[Advice, ...] = field(default=())
    fairness: Fairness = field(default=Fairness((), (), None, ""))

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        value: dict[str, Any] = TypeAdapter(Findings).dump_python(self, mode="json")
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Findings:
        """Reads what `to_json` gave."""
        return TypeAdapter(Findings).validate_python(value)
