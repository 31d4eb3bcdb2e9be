"""Reports on runs whose faults were planted: what is found is what was put in."""

import json
from dataclasses import replace

import numpy as np
import pytest

from asr.corpus.manifest import Utterance
from asr.decode import Word
from asr.errors import InputError
from asr.evaluate import Resampling, Results, ScoredUtterance
from asr.evaluate.analyse import analyse
from asr.evaluate.breakdowns import breakdowns, positions
from asr.evaluate.findings import Findings
from asr.evaluate.measure import score
from asr.evaluate.names import Names
from asr.evaluate.pool import pool

QUICK = Resampling(resamples=200, flips=300)
WORDS = ("navigate", "weather", "tomorrow", "restaurant", "nearest", "station", "tonight", "concert")
NAMES = Names.of(["# people", "Taylor Swift", "Paris", "Will *", "Will Smith"])


def item(text, hypothesis, *, augmentation=None, name=None, **values):
    keys = ("duration", "corpus", "speaker", "gender", "age", "accent")
    known = {key: values.pop(key) for key in keys if key in values}
    utterance = Utterance(name or f"{text}.wav", known.pop("duration", 2.0), text, augmentation=augmentation, **known)
    return ScoredUtterance(utterance, hypothesis, **values)


def spoilt(rng, rate, *, count=300, words=6, **values):
    """`count` utterances in which each word is replaced by "uh" with probability `rate`."""
    found = []
    for number in range(count):
        said = [str(word) for word in rng.choice(WORDS, words)]
        heard = ["uh" if rng.random() < rate else word for word in said]
        settings = {key: value(number) if callable(value) else value for key, value in values.items()}
        settings.setdefault("name", f"{values.get('corpus', 'x')}-{number}.wav")
        found.append(item(" ".join(said), " ".join(heard), **settings))
    return found


def test_a_misheard_name_is_one_error_in_the_reading_and_three_in_the_wer():
    results = Results((item("play taylor swift", "play tay lor's wift"),))
    findings = analyse(results, names=NAMES, resampling=QUICK)
    assert findings.evaluation.overall.word_errors == findings.utterances[0].errors == 3
    assert findings.utterances[0].read_errors == 1
    assert [(s.kind, s.reference, s.hypothesis) for s in findings.utterances[0].steps] == [
        ("hit", "play", "play"),
        ("split", "taylor swift", "tay lor's wift"),
    ]
    assert findings.steps == {"hit": 1, "split": 1}
    (confusion,) = findings.confusions
    assert (confusion.reference, confusion.hypothesis, confusion.count, confusion.spoken) == (
        "taylor swift",
        "tay lor's wift",
        1,
        1,
    )
    assert [(word.word, word.errors, word.name) for word in findings.missed] == [
        ("swift", 1, True),
        ("taylor", 1, True),
    ]
    assert findings.missed[0].heard_as == (("tay lor's wift", 1),)


def test_word_lists_by_hand():
    results = Results((item("a cat sat", "a cat sat uh"), item("a dog sat", "the dog uh uh"), item("a cow", "a cow")))
    findings = analyse(results, vocabulary={"a", "cat"}, resampling=QUICK)
    missed = {word.word: word for word in findings.missed}
    assert {word: (found.errors, found.count, found.known) for word, found in missed.items()} == {
        "a": (1, 3, True),
        "sat": (1, 2, False),
    }
    (inserted,) = findings.inserted
    assert (inserted.word, inserted.errors, inserted.count) == ("uh", 2, 3)
    assert inserted.rate.low < 2 / 3 < inserted.rate.high
    pairs = {(c.reference, c.hypothesis): (c.count, c.spoken) for c in findings.confusions}
    assert pairs == {("a", "the"): (1, 3), ("sat", "uh"): (1, 2)}


def groups(results, name, **options):
    found = {b.name: b for b in breakdowns(score(Results(tuple(results))), resampling=QUICK, **options)}
    return {group.group: group for group in found[name].groups}


def test_kinds_of_words():
    items = [item("fly to paris", "fly to harris"), item("will it rain in paris", "will it rain in paris now")]
    known = groups(items, "vocabulary", vocabulary={"fly", "to", "will", "it", "rain", "in"})
    assert {name: (g.words, g.errors, g.inserted) for name, g in known.items()} == {
        "known": (6, 0, 0),
        "unknown": (2, 1, 1),
    }
    named = groups(items, "names", names=NAMES)
    assert {name: (g.words, g.errors) for name, g in named.items()} == {"names": (2, 1), "other words": (6, 0)}
    places = groups([*items, item("stop", "shop")], "position")
    assert {name: (g.words, g.errors, g.inserted) for name, g in places.items()} == {
        "only": (1, 1, 0),
        "first": (2, 0, 0),
        "second": (2, 0, 0),
        "middle": (2, 0, 0),
        "last": (2, 1, 1),
    }


def test_every_word_has_one_position():
    assert positions(["a"]) == ["only"]
    assert positions(["a", "b"]) == ["first", "last"]
    assert positions(list("abc")) == ["first", "second", "last"]
    assert positions(list("abcde")) == ["first", "second", "middle", "middle", "last"]


def test_kinds_of_utterances_sum_to_the_whole():
    rng = np.random.default_rng(0)
    levels = {None: 0.1, 20.0: 0.2, 5.0: 0.5}
    items = []
    for snr_db, rate in levels.items():
        draws = None if snr_db is None else {"noise": "cabin", "snr_db": snr_db}
        for words in (1, 3, 9):
            items += spoilt(rng, rate, count=40, words=words, augmentation=draws, duration=lambda n: 1.0 + n % 4)
    items = [
        replace(found, confidence=rng.random(), words=(Word("uh", 0.0, 0.1, 0.5),), audio_s=found.utterance.duration)
        for found in items
    ]
    total = sum(alignment.words.errors for alignment in score(Results(tuple(items))).alignments)
    for name in ("length", "rate", "snr", "confidence"):
        found = groups(items, name)
        assert sum(group.words for group in found.values()) == 3 * 40 * 13
        assert sum(group.errors for group in found.values()) == total
        assert sum(group.utterances for group in found.values()) == 360
    assert list(groups(items, "length")) == ["1", "2 to 3", "7 to 12"]
    ladder = groups(items, "snr")
    assert list(ladder) == ["clean", "20 dB and more", "5 dB"]
    for group, rate in zip(ladder.values(), levels.values(), strict=True):
        assert group.rate.low <= group.rate.value <= group.rate.high
        assert group.rate.value == pytest.approx(rate, abs=0.08)
    assert len(groups(items, "confidence")) == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("play taylor swift", [0, 1, 1]),
        ("taylor swift's song", [1, 1, 0]),
        ("a swift answer", [0, 0, 0]),
        ("i will go to paris", [0, 0, 0, 0, 1]),
        ("call will smith", [0, 1, 1]),
        ("paris will", [1, 1]),
    ],
)
def test_names_are_phrases_and_words_that_are_also_names_need_one_beside_them(text, expected):
    assert [int(mark) for mark in NAMES.marks(text.split())] == expected


def test_lists_of_names_are_read(tmp_path):
    (tmp_path / "names.txt").write_text("# none yet\n")
    with pytest.raises(InputError, match="holds no name"):
        Names.read([tmp_path / "names.txt"])
    with pytest.raises(InputError, match=r"gone\.txt: cannot be read"):
        Names.read([tmp_path / "gone.txt"])
    assert Names.read().marks(["call", "barack", "obama"]) == [False, True, True]


def test_fixing_a_slice_brings_the_rate_of_the_rest():
    rng = np.random.default_rng(1)
    items = [*spoilt(rng, 0.1, corpus="good"), *spoilt(rng, 0.5, count=100, corpus="bad")]
    findings = analyse(Results(tuple(items)), resampling=QUICK)
    worst = findings.slices[0]
    good, bad = ([i for i in items if i.utterance.corpus == corpus] for corpus in ("good", "bad"))
    rate = analyse(Results(tuple(good)), resampling=QUICK).evaluation.overall.wer.value
    assert (worst.result.value, worst.result.utterances) == ("bad", len(bad))
    assert worst.rest_wer == worst.wer_if_fixed == pytest.approx(rate)
    assert worst.errors_saved == pytest.approx(worst.result.word_errors - rate * worst.result.words)
    assert worst.p_value < 0.02
    best = next(part for part in findings.slices if part.result.value == "good")
    assert (best.errors_saved, best.wer_if_fixed) == (0.0, findings.evaluation.overall.wer.value)
    assert sum(part.result.error_share for part in (worst, best)) == pytest.approx(1.0)


def test_calibration_error_by_hand():
    words = [("a", 0.9), ("b", 0.9), ("x", 0.9), ("d", 0.35)]
    heard = tuple(Word(word, 0.0, 0.1, confidence) for word, confidence in words)
    items = [item("a b c d", "a b x d", words=heard, name=f"{n}.wav") for n in range(3)]
    found = analyse(Results(tuple(items)), resampling=QUICK).calibration
    assert found.ece.value == pytest.approx((3 * abs(2 / 3 - 0.9) + abs(1 - 0.35)) / 4)
    assert found.ece.low == found.ece.high == pytest.approx(found.ece.value)  # three equal recordings
    assert (found.words, found.accuracy) == (12, pytest.approx(0.75))
    assert found.confidence == pytest.approx((3 * 0.9 + 0.35) / 4)


def test_everything_travels_as_json_and_nothing_is_something():
    rng = np.random.default_rng(2)
    items = spoilt(rng, 0.3, count=60, corpus="test", gender=lambda n: "fm"[n % 2], speaker=lambda n: f"s{n % 24}")
    full = analyse(
        Results(tuple(items), settings={"bundle": "x"}), vocabulary=WORDS, names=NAMES, references={"person": 0.05},
        resampling=QUICK,
    )  # fmt: skip
    assert Findings.from_json(json.loads(json.dumps(full.to_json(), allow_nan=False))) == full
    empty = analyse(Results((item("stop", "", error="gone"),)), vocabulary=WORDS, resampling=QUICK)
    assert Findings.from_json(json.loads(json.dumps(empty.to_json(), allow_nan=False))) == empty
    assert (empty.utterances, empty.breakdowns, len(empty.evaluation.failed)) == ((), (), 1)


def test_runs_of_one_bundle_are_pooled_and_nothing_counts_twice():
    rng = np.random.default_rng(3)
    quiet = spoilt(rng, 0.1, count=5)
    noisy = spoilt(rng, 0.3, count=5, augmentation={"noise": "cabin", "snr_db": 5.0})
    runs = [
        Results(tuple(quiet), settings={"bundle_hash": "a", "manifests": ["m"]}),
        Results((*quiet[:2], *noisy), settings={"bundle_hash": "a", "manifests": ["m", "n"]}),
    ]
    pooled, sources = pool(runs)
    assert (len(pooled.items), sources) == (10, (0,) * 5 + (1,) * 5)
    assert [problem.where for problem in pooled.left_out] == [found.key for found in quiet[:2]]
    assert pooled.settings["manifests"] == ["m", "n"]
    with pytest.raises(InputError, match="different bundles"):
        pool([runs[0], Results(tuple(noisy), settings={"bundle_hash": "b"})])
