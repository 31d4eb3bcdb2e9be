import numpy as np
import pytest

from asr.corpus.manifest import Problem, Utterance, read_manifest, write_manifest
from asr.decode import stability as st
from asr.evaluate.run import RunConfig
from asr.evaluate.stability import Shown, fit, report, stabilities, watch, watch_one
from asr.recognize import Recognizer

TRUE = st.from_sequence([-1.0, 0.8, 0.3, 0.6, -0.2, 0.5, -0.4, 0.1, 0.2, -0.6])


def drawn(weights, count, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (count, 9))
    features[:, 8] = rng.random(count) < 0.5
    shown = [Shown("tune", row, 0.5, 2, 0) for row in features]
    stands = rng.random(count) < stabilities(shown, weights)
    return [Shown("tune", one.features, 0.5, 2, int(not stand)) for one, stand in zip(shown, stands, strict=True)]


def test_the_fit_finds_the_weights_that_made_the_data():
    found = fit(drawn(TRUE, 20_000))
    assert st.as_tuple(found) == pytest.approx(st.as_tuple(TRUE), abs=0.1)


def test_words_that_have_stood_are_never_less_stable():
    odd = st.from_sequence([0.0, 1.0, *[0.0] * 8])
    shown = drawn(odd, 2000)
    turned = [Shown(one.half, one.features, 0.5, 2, int(one.features[4] > 0 or one.features[5] < 0)) for one in shown]
    found = fit(turned)
    assert (found.age, found.young) == (0.0, 0.0)
    assert st.as_tuple(fit([])) == (0.0,) * 10


def test_a_report_by_hand():
    zeros = np.zeros(9)
    shown = [Shown("report", zeros, 0.0, 2, 0), Shown("report", zeros, 0.0, 3, 1), Shown("report", zeros, 0.0, 5, 0)]
    found = report(shown, np.array([0.95, 0.55, 0.92]))
    assert found.stand == pytest.approx(2 / 3)
    assert found.mean == pytest.approx(2.42 / 3)
    assert found.bins == ((0.55, 0.0, 1), (pytest.approx(0.935), 1.0, 2))
    assert found.calibration_error == pytest.approx((0.55 + 0.05 + 0.08) / 3)
    half, sure = found.trust[0], found.trust[3]
    assert (half.stability, half.shown, half.stand, half.words_taken_back) == (0.5, 1.0, pytest.approx(2 / 3), 0.1)
    assert (sure.stability, sure.shown, sure.stand, sure.words_taken_back) == (0.9, pytest.approx(2 / 3), 1.0, 0.0)
    assert [row.stability for row in found.trust] == [0.5, 0.7, 0.8, 0.9, 0.95]


def test_interim_results_are_held_against_the_final_one(tiny_bundle, tmp_path):
    recognizer = Recognizer.open(tiny_bundle)
    samples = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    shown = watch_one(recognizer, samples, "report", 0.1)
    assert shown
    assert {one.half for one in shown} == {"report"}
    assert all(one.features.shape == (9,) and 0 <= one.taken_back <= one.words for one in shown)
    last = watch_one(recognizer, samples, "report", 60.0)[-1]
    assert last.words >= shown[-1].words

    import soundfile

    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    rows = [Utterance(f"{name}.wav", 2.5, "a", id=name, corpus="c", speaker=name) for name in ("a", "gone")]
    write_manifest(tmp_path / "m.jsonl", rows)
    found = list(watch(recognizer, [read_manifest(tmp_path / "m.jsonl")], RunConfig()))
    assert [isinstance(item, Problem) for item in found] == [False, True]
    assert [one.words for one in found[0]] == [one.words for one in shown]
