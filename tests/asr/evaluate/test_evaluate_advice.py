"""The ladder, fairness and the advice on runs with one planted fault each."""

import numpy as np
import pytest

from asr.corpus.manifest import Utterance
from asr.decode import Word
from asr.evaluate import Resampling, Results, ScoredUtterance
from asr.evaluate.advice import RULES
from asr.evaluate.analyse import analyse
from asr.evaluate.names import Names
from asr.evaluate.report import report_html
from asr.evaluate.statistics import MIN_UNITS

QUICK = Resampling(resamples=200, flips=300)
WORDS = ("navigate", "weather", "tomorrow", "restaurant", "nearest", "station", "tonight", "concert")
GAPS = ("bias", "variance", "mismatch", "noise")
CAR = {"noise": "cabin", "snr_db": 5.0}


def run(rate=0.1, *, seed=0, count=300, confidence=0.9, duration=3.0, third=None, wrong="uh", **values):
    """Utterances of six words, each replaced by `wrong` with probability `rate`, a number or a function of its place.

    `third` stands third in every utterance; `values` are the utterances', functions are called with the number.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        said = [str(word) for word in rng.choice(WORDS, 6)]
        said[2] = third or said[2]
        heard = []
        for place, word in enumerate(said):
            missed = rng.random() < (rate(place) if callable(rate) else rate)
            heard += wrong.split() if missed else [word]
        own = {key: value(number) if callable(value) else value for key, value in values.items()}
        length_s = duration(number) if callable(duration) else duration
        utterance = Utterance(f"{own.get('corpus', 'x')}-{number}.wav", length_s, " ".join(said), **own)
        words = tuple(Word(word, i / 10, i / 10 + 0.1, confidence) for i, word in enumerate(heard))
        found.append(ScoredUtterance(utterance, " ".join(heard), words, confidence))
    return found


def results(*parts):
    return Results(tuple(found for part in parts for found in part))


def advised(findings):
    return {advice.rule: advice for advice in findings.advice if advice.rule != "measure"}


def climb(train=0.05, train_dev=0.05, dev=0.05, car=0.05, references=None):
    """A report on runs that reach these rates."""
    return analyse(
        results(run(dev, seed=1), run(car, seed=2, augmentation=CAR)),
        train=results(run(train, seed=3, corpus="train")),
        train_dev=results(run(train_dev, seed=4, corpus="held-out")),
        references=references or {"person": 0.06},
        resampling=QUICK,
    )


@pytest.mark.parametrize(
    ("kind", "rates", "gain"),
    [
        ("bias", {"train": 0.3, "train_dev": 0.3, "dev": 0.3, "car": 0.3}, 0.24),
        ("variance", {"train_dev": 0.3, "dev": 0.3, "car": 0.3}, 0.25),
        ("mismatch", {"dev": 0.3, "car": 0.3}, 0.25),
        ("noise", {"car": 0.3}, 0.25),
    ],
)
def test_the_largest_gap_is_the_planted_one_and_its_advice_comes_first(kind, rates, gain):
    findings = climb(**rates)
    ladder = findings.ladder
    assert [rung.kind for rung in ladder.rungs] == ["reference", "train", "train_dev", "dev", "car"]
    assert [gap.kind for gap in ladder.gaps] == ["bias", "variance", "mismatch", "noise"]
    assert ladder.missing == ()
    assert ladder.gaps[ladder.largest].kind == kind
    first = findings.advice[0]
    assert (first.rule, first.gain) == (kind, pytest.approx(gain, abs=0.05))
    assert first.figures["low"] <= first.figures["gap"] <= first.figures["high"]
    assert first.gain == ladder.gaps[ladder.largest].difference.value
    assert [advice.rule for advice in findings.advice if advice.rule in GAPS] == [kind]


def test_gaps_add_up_from_the_reference_to_the_car():
    ladder = climb(0.1, 0.2, 0.3, 0.5, {"person": 0.04, "tiny": 0.13}).ladder
    assert sum(gap.difference.value for gap in ladder.gaps) == pytest.approx(ladder.rungs[-1].wer.value - 0.04)
    assert [rung.name for rung in ladder.rungs[:2]] == ["person", "tiny"]
    assert [(group.group, group.utterances) for group in ladder.rungs[-1].conditions] == [("cabin 5 dB", 300)]


def test_rungs_with_the_same_corpora_in_other_shares_are_compared_like_for_like():
    """The training sample is easy speech mostly, the test hard speech mostly: that is no variance and no bias."""
    trained = results(run(0.05, seed=1, count=540, corpus="easy"), run(0.3, seed=2, count=60, corpus="hard"))
    held_out = results(run(0.05, seed=3, count=60, corpus="easy"), run(0.3, seed=4, count=540, corpus="hard"))
    findings = analyse(held_out, train=trained, train_dev=held_out, references={"person": 0.27}, resampling=QUICK)
    bias, variance, mismatch = findings.ladder.gaps
    rates = {rung.kind: rung.wer.value for rung in findings.ladder.rungs if rung.wer}
    for gap, raw in ((bias, rates["train"] - 0.27), (variance, rates["train_dev"] - rates["train"])):
        assert gap.as_they_stand == pytest.approx(raw)
        assert abs(raw) > 0.15
        assert gap.difference.value == pytest.approx(0.0, abs=0.05)
        assert not gap.clear
    assert (mismatch.difference.value, mismatch.as_they_stand, mismatch.clear) == (0.0, None, False)
    assert not set(GAPS) & set(advised(findings))
    # Worse on the hard speech alone: that is variance, and there.
    worse = results(run(0.05, seed=3, count=60, corpus="easy"), run(0.6, seed=4, count=540, corpus="hard"))
    findings = analyse(worse, train=trained, train_dev=worse, references={"person": 0.27}, resampling=QUICK)
    gap = findings.ladder.gaps[1]
    assert [part.corpus for part in gap.corpora] == ["hard", "easy"]
    assert [part.clear for part in gap.corpora] == [True, False]
    assert gap.corpora[0].difference.value == pytest.approx(0.3, abs=0.06)
    assert gap.difference.value == pytest.approx(0.9 * gap.corpora[0].difference.value, abs=0.03)
    assert findings.ladder.gaps[findings.ladder.largest] is gap
    assert "most of all in hard" in advised(findings)["variance"].text
    page = report_html(findings)
    assert f"corpora weighed alike (as they stand +{100 * gap.as_they_stand:.1f})" in page
    assert f">hard +{100 * gap.corpora[0].difference.value:.1f}</span>" in page


def test_a_mismatch_is_not_weighed_away_and_strange_corpora_are_compared_as_they_stand():
    held_out = results(run(0.05, seed=1, count=540, corpus="easy"), run(0.3, seed=2, count=60, corpus="hard"))
    test = results(run(0.05, seed=3, count=60, corpus="easy"), run(0.3, seed=4, count=540, corpus="hard"))
    car = results(run(0.5, seed=5, corpus="real car"))
    *_, mismatch, noise = analyse(test, train_dev=held_out, train=held_out, car=car, resampling=QUICK).ladder.gaps
    assert mismatch.difference.value == pytest.approx(0.2, abs=0.05)
    assert {part.corpus for part in mismatch.corpora} == {"easy", "hard"}
    assert noise.difference.value == pytest.approx(0.5 - 0.275, abs=0.05)
    assert noise.as_they_stand is None
    assert noise.corpora == ()


def test_missing_rungs_are_named_and_what_they_hide_is_not_told_apart():
    findings = analyse(results(run(0.3)), resampling=QUICK)
    (gap,) = findings.ladder.gaps
    assert (gap.kind, gap.causes, gap.lower) == ("mixed", ("bias", "variance", "mismatch"), "perfect")
    assert gap.difference == findings.evaluation.overall.wer
    assert len(findings.ladder.missing) == 4
    asked = [advice.text for advice in findings.advice if advice.rule == "measure"]
    for option in ("--reference", "--train RESULTS", "--train-dev RESULTS", "--car RESULTS"):
        assert sum(option in text for text in asked) == 1
    assert "bias" not in advised(findings)


def test_a_gap_of_chance_is_not_clear():
    findings = climb()
    assert all(not gap.clear for gap in findings.ladder.gaps[1:])
    assert not set(GAPS) & set(advised(findings))


def test_a_car_test_of_its_own_is_the_rung():
    findings = analyse(
        results(run(0.05), run(0.2, seed=1, augmentation=CAR)),
        car=results(run(0.6, seed=2, corpus="real car")),
        resampling=QUICK,
    )
    assert findings.ladder.rungs[-1].wer.value == pytest.approx(0.6, abs=0.05)
    assert findings.ladder.rungs[-1].conditions[0].group == "clean"  # no noise was added to what is noisy by itself


def test_a_bad_corpus_is_the_data_to_collect():
    findings = analyse(results(run(0.1, corpus="reading"), run(0.5, corpus="children")), resampling=QUICK)
    (advice,) = [advice for advice in findings.advice if advice.rule == "slice"]
    assert "children" in advice.text
    assert advice.gain == pytest.approx(findings.evaluation.overall.wer.value - advice.figures["rest"])


@pytest.mark.parametrize(
    ("rule", "findings"),
    [
        ("unknown words", lambda: named(vocabulary=WORDS)),
        ("names", lambda: named(names=Names.of(["Hurstwood"]))),
        ("first word", lambda: analyse(results(run(lambda place: 0.5 if place == 0 else 0.1)), resampling=QUICK)),
        ("last word", lambda: analyse(results(run(lambda place: 0.5 if place == 5 else 0.1)), resampling=QUICK)),
        (
            "pace",
            lambda: analyse(results(run(0.05), run(0.5, count=100, corpus="fast", duration=1.5)), resampling=QUICK),
        ),
        ("balance", lambda: analyse(results(run(0.2, wrong="")), resampling=QUICK)),
        ("balance", lambda: analyse(results(run(0.2, wrong="uh um er")), resampling=QUICK)),
        ("boundaries", lambda: analyse(results(run(0.3, third="tonight", wrong="to night")), resampling=QUICK)),
        ("confidence", lambda: analyse(results(run(0.5, confidence=0.95)), resampling=QUICK)),
        ("fairness", lambda: analyse(results(spoken_by("f", 0.1), spoken_by("m", 0.4)), resampling=QUICK)),
    ],
)
def test_a_planted_fault_brings_its_advice_and_none_other_brings_it(rule, findings):
    found = findings()
    advice = advised(found)
    assert rule in advice
    if advice[rule].gain is not None:
        assert 0 < advice[rule].gain <= found.evaluation.overall.wer.value
    assert all(isinstance(value, int | float) for value in advice[rule].figures.values())
    even = analyse(results(run(0.1)), vocabulary=WORDS, names=Names.of(["Hurstwood"]), resampling=QUICK)
    assert rule not in advised(even)


def named(**options):
    return analyse(
        results(run(lambda place: 0.8 if place == 2 else 0.1, third="hurstwood"), run(0.1, seed=1, corpus="other")),
        resampling=QUICK,
        **options,
    )


def test_every_rule_is_documented():
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert f"| {rule} |" in page


def spoken_by(gender, rate, *, corpus="test", speakers=20, seed=7, **values):
    """Each speaker has a rate of their own around `rate`."""
    rng = np.random.default_rng((seed, ord(gender[0])))
    found = []
    for speaker in range(speakers):
        own = min(0.95, rate * rng.uniform(0.7, 1.3))
        who = f"{corpus}-{gender}{speaker}"
        found += run(
            own,
            seed=speaker,
            count=8,
            speaker=who,
            gender=gender,
            corpus=corpus,
            id=lambda n, w=who: f"{w}-{n}",
            **values,
        )
    return found


def test_the_planted_difference_is_the_largest_and_equal_groups_are_alike_or_undecided():
    fairness = analyse(results(spoken_by("f", 0.15), spoken_by("m", 0.45)), resampling=QUICK).fairness
    assert (fairness.largest.worse, fairness.largest.better, fairness.largest.verdict) == (
        "male",
        "female",
        "different",
    )
    assert fairness.largest.difference.low < 0.3 < fairness.largest.difference.high
    assert [(group.group, group.units, group.unit) for group in fairness.groups] == [
        ("male", 20, "speaker"),
        ("female", 20, "speaker"),
    ]
    equal = analyse(results(spoken_by("f", 0.3), spoken_by("m", 0.3)), resampling=QUICK).fairness
    assert equal.largest is None
    assert [found.verdict for found in equal.differences] in (["alike"], ["too little data"])


def test_an_accent_that_only_one_corpus_has_is_compared_with_nobody():
    parts = (
        spoken_by("f", 0.1, corpus="reading", accent="us"),
        spoken_by("f", 0.6, corpus="learners", accent="mandarin"),
    )
    findings = analyse(results(*parts), resampling=QUICK)
    fairness = findings.fairness
    assert (fairness.differences, fairness.largest) == ((), None)
    assert {(group.corpus, group.group) for group in fairness.alone if group.dimension == "accent"} == {
        ("reading", "us"),
        ("learners", "mandarin"),
    }
    assert {part.result.value: part.only_in for part in findings.slices if part.result.dimension == "accent"} == {
        "us": "reading",
        "mandarin": "learners",
    }
    assert all(not part.only_in for part in findings.slices if part.result.dimension != "accent")
    page = report_html(findings)
    assert "accent “mandarin” in learners" in page
    assert "only in learners" in page


def test_few_speakers_are_too_little_data_however_much_they_say():
    few = spoken_by("f", 0.1), spoken_by("m", 0.6, speakers=MIN_UNITS - 1)
    fairness = analyse(results(*few), resampling=QUICK).fairness
    assert {group.group: group.enough for group in fairness.groups} == {"male": False, "female": True}
    assert (fairness.differences, fairness.largest) == ((), None)


def test_alike_means_shown_to_be_alike():
    many = [run(0.3, seed=s, count=700, corpus="t", gender=g, id=lambda n, g=g: f"{g}{n}") for s, g in enumerate("fm")]
    fairness = analyse(results(*many), resampling=QUICK).fairness
    (found,) = fairness.differences
    assert found.verdict == "alike"
    assert max(abs(found.difference.low), abs(found.difference.high)) <= found.margin
