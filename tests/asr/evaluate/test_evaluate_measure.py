import json

import numpy as np
import pytest

from asr.corpus.manifest import Problem, Utterance
from asr.decode import Word
from asr.errors import InputError, ManifestError
from asr.evaluate import Evaluation, Resampling, Results, ScoredUtterance, evaluate, is_results_folder

QUICK = Resampling(resamples=200, flips=200)
VOCABULARY = ("call", "home", "play", "some", "jazz", "stop", "the", "music", "navigate", "to", "work")


def simulated(seed=0, rate=0.3, count=60):
    """A run whose words are dropped, replaced or doubled at `rate`, over three speakers and two conditions."""
    rng = np.random.default_rng(seed)
    items = []
    for number in range(count):
        words = list(rng.choice(VOCABULARY, size=rng.integers(1, 7)))
        heard = []
        for word in words:
            draw = rng.random()
            heard += (
                [] if draw < rate / 3 else [word, "uh"] if draw < 2 * rate / 3 else ["um"] if draw < rate else [word]
            )
        utterance = Utterance(
            f"{number // 2}.wav",
            1.0 + number % 5,
            " ".join(words),
            speaker=f"s{number % 3}",
            corpus="test",
            augmentation={"noise": "cabin", "snr_db": 5.0} if number % 2 else None,
        )
        timed = tuple(Word(word, i / 10, i / 10 + 0.1, 0.9 if word != "um" else 0.3) for i, word in enumerate(heard))
        items.append(ScoredUtterance(utterance, " ".join(heard), timed, 0.8, utterance.duration, 0.1))
    return Results(tuple(items), settings={"bundle": "simulated"})


def item(text, hypothesis="", **values):
    return ScoredUtterance(Utterance(f"{text}.wav", 2.0, text), hypothesis, audio_s=2.0, processor_s=0.5, **values)


def test_rates_by_hand():
    results = Results((item("call home now", "call rome"), item("stop", "stop"), item("play jazz", "please play jazz")))
    evaluation = evaluate(results, vocabulary={"call", "stop", "play", "jazz"}, resampling=QUICK)
    whole = evaluation.overall
    assert (whole.substitutions, whole.deletions, whole.insertions) == (1, 1, 1)
    assert whole.wer.value == pytest.approx(3 / 6)
    assert whole.ser.value == pytest.approx(2 / 3)
    assert whole.cer.value == pytest.approx((1 + len(" now") + len("please ")) / (13 + 4 + 9))
    assert evaluation.rtf == pytest.approx(0.25)
    assert (evaluation.unknown_words.count, evaluation.unknown_words.missed) == (2, 2)
    words = {word.word: word for word in evaluation.words}
    assert (words["home"].substitutions, words["now"].deletions, words["please"].insertions) == (1, 1, 1)
    assert (words["rome"].count, words["rome"].false_alarms, words["home"].known) == (0, 1, False)
    assert [(c.reference, c.hypothesis, c.count) for c in evaluation.confusions] == [("home", "rome", 1)]


def test_slices_sum_to_the_whole_and_intervals_hold_the_rate():
    evaluation = evaluate(simulated(), vocabulary=VOCABULARY[:6], resampling=QUICK)
    by_dimension = {}
    for part in evaluation.slices:
        by_dimension.setdefault(part.dimension, []).append(part)
    assert set(by_dimension) == {"corpus", "speaker", "noise", "snr", "length", "vocabulary"}
    for parts in by_dimension.values():
        for name in ("utterances", "words", "word_errors", "substitutions", "deletions", "insertions"):
            assert sum(getattr(part, name) for part in parts) == getattr(evaluation.overall, name)
        assert sum(part.error_share for part in parts) == pytest.approx(1)
    for part in (evaluation.overall, *evaluation.slices):
        for rate in (part.wer, part.cer, part.ser):
            assert rate.low <= rate.value <= rate.high
    assert (
        sum(w.substitutions + w.deletions for w in evaluation.words) + sum(w.insertions for w in evaluation.words)
        == evaluation.overall.word_errors
    )


def test_noisy_versions_of_a_recording_are_one_unit():
    assert evaluate(simulated(count=60), resampling=QUICK).overall.units == 30


def test_confidence_bins():
    low, high = evaluate(simulated(), resampling=QUICK).calibration
    assert (low.low, low.accuracy, low.confidence) == (0.3, 0.0, pytest.approx(0.3))
    assert high.accuracy > 0.5
    assert evaluate(Results((item("call", "call"),)), resampling=QUICK).calibration == ()


def test_failed_items_and_items_without_transcript_are_listed_and_in_no_rate():
    results = Results(
        (item("call home", "call home"), item("stop", error="stop.wav: is not audio"), item("", "uh")),
        left_out=(Problem("m.jsonl:3", "not JSON"),),
    )
    evaluation = evaluate(results, resampling=QUICK)
    assert (evaluation.overall.utterances, evaluation.overall.wer.value) == (1, 0.0)
    assert evaluation.failed == (Problem("stop.wav", "stop.wav: is not audio"),)
    assert [problem.where for problem in evaluation.left_out] == ["m.jsonl:3", ".wav"]
    assert evaluation.summary()["failed"] == [{"file": "stop.wav", "error": "stop.wav: is not audio"}]


def test_a_run_in_which_all_failed_has_no_rates_and_is_still_json():
    evaluation = evaluate(Results((item("stop", error="gone"),)), vocabulary={"stop"}, resampling=QUICK)
    summary = json.loads(json.dumps(evaluation.summary(), allow_nan=False))
    assert (summary["wer"], summary["rtf"], summary["utterances"]) == (None, None, 0)


def test_the_evaluation_travels_as_json():
    evaluation = evaluate(simulated(), vocabulary=VOCABULARY[:4], resampling=QUICK)
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == evaluation
    summary = evaluation.summary()
    assert {"wer", "cer", "ser", "utterances", "rtf", "intervals", "slices", "failed", "left_out"} <= set(summary)
    assert all(summary[name] >= 0 for name in ("wer", "cer", "ser"))


def test_results_are_read_back_as_they_were_written(tmp_path):
    results = simulated(count=6)
    failed = ScoredUtterance(
        Utterance("stop.wav", 2.0, "stop"), error="is empty", manifest="/data/m.jsonl", condition=1
    )
    results = Results((*results.items, failed), (Problem("m.jsonl:9", "not JSON"),), {"bundle": "x", "seed": 3})
    results.write(tmp_path / "run")
    assert is_results_folder(tmp_path / "run")
    assert Results.read(tmp_path / "run") == results
    row = json.loads((tmp_path / "run" / "results.jsonl").read_text().splitlines()[0])
    assert {"audio_filepath", "duration", "text", "pred_text"} <= set(row)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object but list"),
        ('{"audio_filepath": "x", "duration": 1, "text": "a"}', "'pred_text' is missing"),
        ('{"audio_filepath": "x", "duration": 1, "text": "a", "pred_text": 5}', "must be a string"),
        ('{"audio_filepath": "x", "duration": 1, "text": "a", "pred_text": "", "words": [{}]}', "missing"),
        ('{"audio_filepath": "x", "duration": 1, "text": "a", "pred_text": "", "colour": 1}', "unknown key 'colour'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, message):
    (tmp_path / "results.jsonl").write_text(line + "\n")
    with pytest.raises(ManifestError, match=message) as caught:
        Results.read(tmp_path)
    assert "results.jsonl:1" in str(caught.value)


def test_another_folder_is_no_results_folder(tmp_path):
    assert not is_results_folder(tmp_path)
    with pytest.raises(InputError, match="is not a folder with results"):
        Results.read(tmp_path)
