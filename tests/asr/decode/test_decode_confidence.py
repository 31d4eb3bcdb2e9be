"""Calibration against scipy's optimiser, and through the decoder."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize

from asr.config import config_to_json, config_to_yaml, load_config
from asr.decode import Calibration, Decoder, DecoderConfig, LanguageModel, Tokens
from asr.decode.bench import simulate
from asr.decode.confidence import expected_calibration_error, fit_logistic, probabilities
from asr.decode.config import TextWeights, WordWeights
from asr.decode.lm_build import estimate, write_arpa

TOKENS = Tokens.characters()


def sample(seed, count=400, weights=(6.0, 1.5, -2.0)):
    rng = np.random.default_rng(seed)
    features = rng.normal([0.0, 3.0], [1.0, 0.2], (count, 2))
    return features, rng.random(count) < probabilities(features, weights)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ridge", [0.01, 1.0, 50.0])
def test_the_fit_is_the_minimum_that_an_optimiser_finds(seed, ridge):
    features, right = sample(seed)
    scale = features.std(axis=0)
    target = (right + 1 / len(right)) / (1 + 2 / len(right))

    def loss(weights):
        z = features @ weights[1:] + weights[0]
        return float(np.sum(np.logaddexp(0, z) - target * z) + ridge / 2 * np.sum((weights[1:] * scale) ** 2))

    found = np.array(fit_logistic(features, right, ridge=ridge))
    oracle = scipy.optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-7})
    assert loss(found) <= oracle.fun + 1e-6
    assert found == pytest.approx(oracle.x, abs=2e-3 * max(1, np.abs(oracle.x).max()))


def test_the_fit_finds_the_weights_that_made_the_data():
    features, right = sample(9, count=50_000)
    found = probabilities(features, fit_logistic(features, right))
    assert np.abs(found - probabilities(features, (6.0, 1.5, -2.0))).mean() < 0.005


@pytest.mark.parametrize("right", [True, False])
def test_one_outcome_only_gives_a_sure_but_finite_answer(right):
    features = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    weights = fit_logistic(features, np.full(3, right))
    p = probabilities(features, weights)
    assert np.isfinite(weights).all()
    assert weights[2] == 0.0  # it never varied
    assert (p > 0.7).all() if right else (p < 0.3).all()
    assert fit_logistic(np.zeros((0, 2)), np.zeros(0, bool)) == (0.0, 0.0, 0.0)


def test_calibration_error_by_hand():
    probability = np.array([0.15, 0.15, 0.95, 0.95, 1.0])
    right = np.array([False, True, True, True, True])
    # One bin of two with 0.5 right, one of three with all right.
    expected = (2 * abs(0.5 - 0.15) + 3 * abs(1 - (0.95 + 0.95 + 1.0) / 3)) / 5
    assert expected_calibration_error(probability, right) == pytest.approx(expected)
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) == 0.0


CALIBRATION = Calibration(
    word=WordWeights(bias=-1.0, posterior=0.5, letters=0.4, pace=-0.3, unknown=-2.0),
    interim=WordWeights(bias=-2.0, posterior=0.5, letters=0.4, pace=-0.3, unknown=-2.0),
    text=TextWeights(bias=-1.0, posterior=0.5, words=-0.1, weakest=1.0),
)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "toy.arpa"
    write_arpa(estimate(["call mom", "play jazz", "call the cab"], order=2), path)
    return LanguageModel.load(path)


def by_hand(word, weights):
    p = min(max(word.confidence, 1e-6), 1 - 1e-6)
    odds = weights.bias + weights.posterior * np.log(p / (1 - p)) + weights.letters * np.log(len(word.word))
    odds += weights.pace * np.log((word.end_s - word.start_s) / len(word.word))
    odds += weights.unknown * (word.word == "tom")
    return 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("kind", ["greedy", "beam"])
def test_the_decoder_gives_the_probabilities_and_nothing_else_changes(lm, kind):
    log_probs = simulate("call tom", TOKENS, np.random.default_rng(2), noise=1.0)
    config = DecoderConfig(kind=kind, unknown_cost=2.0)
    raw = Decoder(TOKENS, config, 0.02, lm).decode(log_probs, 3)
    tuned = dataclasses.replace(config, calibration=CALIBRATION)
    stream = Decoder(TOKENS, tuned, 0.02, lm).stream()
    stream.accept(log_probs)
    found = stream.finish(3)
    assert [h.text for h in found] == [h.text for h in raw]
    assert [h.score for h in found] == [h.score for h in raw]
    assert found[0].text == "call tom"
    for before, after in zip(raw[0].words, found[0].words, strict=True):
        assert (before.word, before.start_s, before.end_s) == (after.word, after.start_s, after.end_s)
        assert after.confidence == pytest.approx(by_hand(before, CALIBRATION.word))
    weakest = min(word.confidence for word in found[0].words)
    t, p = CALIBRATION.text, min(max(raw[0].confidence, 1e-6), 1 - 1e-6)
    odds = (
        t.bias + t.posterior * np.log(p / (1 - p)) + t.words * np.log(3) + t.weakest * np.log(weakest / (1 - weakest))
    )
    assert found[0].confidence == pytest.approx(1 / (1 + np.exp(-odds)))
    plain = Decoder(TOKENS, config, 0.02, lm).stream()
    plain.accept(log_probs)
    interim = stream.best()
    expected = [by_hand(word, CALIBRATION.interim) for word in plain.best().words]
    assert [word.confidence for word in interim.words] == pytest.approx(expected)
    assert interim.confidence == pytest.approx(min(expected))


def test_silence_has_a_confidence_too(lm):
    config = DecoderConfig(calibration=CALIBRATION)
    stream = Decoder(TOKENS, config, 0.02, lm).stream()
    assert 0 <= stream.best().confidence <= 1
    assert 0 <= stream.finish()[0].confidence <= 1


def test_settings_with_a_calibration_are_read_back(tmp_path):
    config = DecoderConfig(calibration=CALIBRATION)
    (tmp_path / "decoder.yaml").write_text(config_to_yaml(config))
    assert load_config(DecoderConfig, tmp_path / "decoder.yaml") == config
    plain = {name: value for name, value in config_to_json(DecoderConfig()).items() if name != "calibration"}
    (tmp_path / "old.yaml").write_text("\n".join(f"{name}: {value}" for name, value in plain.items()))
    assert load_config(DecoderConfig, tmp_path / "old.yaml").calibration is None
