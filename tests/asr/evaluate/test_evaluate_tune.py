import dataclasses
import itertools

import numpy as np
import pytest

from asr.decode import DecoderConfig, Hypothesis, LanguageModel, Tokens
from asr.decode.lm_build import estimate, write_arpa
from asr.evaluate.calibrate import fit, reliability, words_right
from asr.evaluate.heard import Heard
from asr.evaluate.tune import STEPS, Listener, TrialLog, count, subset, tune

TOKENS = Tokens(["<blank>", " ", *"abt"])
FRAME_S = 0.02


def posteriors(text: str, confused: dict[str, str]) -> np.ndarray:
    """Frames that spell `text`, in which some letters sound a little more like another."""
    frames = []
    for letter in text:
        p = np.full(len(TOKENS), 0.01)
        p[TOKENS.symbols.index(letter)] = 0.4 if letter in confused else 0.95
        if letter in confused:
            p[TOKENS.symbols.index(confused[letter])] = 0.45
        blank = np.full(len(TOKENS), 0.01)
        blank[0] = 0.95
        frames += [p / p.sum(), blank / blank.sum()]
    return np.log(np.array(frames)).astype(np.float16)


@pytest.fixture
def lm_path(tmp_path):
    write_arpa(estimate(["tab bat", "bat tab", "tab tab", "bat"] * 5, order=2), tmp_path / "lm.arpa")
    return tmp_path / "lm.arpa"


HEARD = [Heard(text, "read", posteriors(text, {"t": "b"})) for text in ("tab bat", "bat tab", "tab")]
START = DecoderConfig(lm_weight=0.0, word_bonus=0.0, unknown_cost=0.0, beam_width=8)


def test_tuning_finds_the_weights_that_let_the_language_model_decide(lm_path) -> None:
    told = []
    with Listener(HEARD, TOKENS, FRAME_S, lm_path) as listener:
        best = tune(listener, START, report=lambda trial, whole: told.append((trial, whole)))
    assert told[0][0].wer == 1.0
    assert best.wer == 0.0
    assert best.config.beam_width == START.beam_width
    finals = [trial for trial, whole in told if whole]
    assert any(trial.config == START for trial in finals)
    assert best.objective == min(trial.objective for trial in finals)


def test_an_interrupted_search_goes_on_where_it_was_and_ends_the_same(lm_path, tmp_path) -> None:
    log = TrialLog(tmp_path / "trials.jsonl")
    with Listener(HEARD, TOKENS, FRAME_S, lm_path) as listener:
        first = tune(listener, START, log=log)
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert len(lines) == len(log.read()) > 5
    (tmp_path / "trials.jsonl").write_text("\n".join(lines[:4]) + "\n" + lines[4][:30])
    resumed = TrialLog(tmp_path / "trials.jsonl")
    assert len(resumed.read()) == 4

    class Counting(Listener):
        runs = 0

        def trial(self, config, items=None):
            Counting.runs += 1
            return super().trial(config, items)

    with Counting(HEARD, TOKENS, FRAME_S, lm_path) as listener:
        assert tune(listener, START, log=resumed) == first
        again = Counting.runs
        Counting.runs = 0
        tune(listener, START, log=resumed)
    assert Counting.runs < again


def test_several_processes_hear_what_one_does(lm_path) -> None:
    config = dataclasses.replace(START, lm_weight=0.7)
    with (
        Listener(HEARD, TOKENS, FRAME_S, lm_path) as one,
        Listener(HEARD, TOKENS, FRAME_S, lm_path, processes=2) as two,
    ):
        assert two.hypotheses(config) == one.hypotheses(config)
        assert two.hypotheses(config, [2, 0], interim=True) == one.hypotheses(config, [2, 0], interim=True)
        assert one.digest == two.digest


def hypothesis(text: str) -> Hypothesis:
    return Hypothesis(text, (), 1.0, 0.0)


def test_voice_search_counts_half_and_unknown_words_are_followed() -> None:
    heard = [
        Heard("a b a b a b a b a b", "librispeech", np.zeros((100, 5))),
        Heard("call tab", "voice_search", np.zeros((20, 5))),
    ]
    trial = count(START, heard, [hypothesis("a b a b a b a b a x"), hypothesis("tab")], frozenset(["a", "call"]))
    assert trial.errors == {"librispeech": 1, "voice_search": 1}
    assert trial.wer == pytest.approx(2 / 12)
    assert trial.objective == pytest.approx(0.5 * 1 / 10 + 0.5 * 1 / 2)
    assert (trial.unknown, trial.unknown_right) == (6, 5)
    alone = count(START, heard[:1], [hypothesis("")], None)
    assert alone.objective == alone.wer == 1.0
    assert alone.unknown == 0


def test_the_subset_keeps_voice_search_whole_and_takes_evenly_of_the_rest() -> None:
    heard = [Heard("a", "voice_search" if index % 10 == 0 else "read", np.zeros((10, 5))) for index in range(100)]
    taken = subset(heard, 10 * 55)
    assert set(range(0, 100, 10)) <= set(taken)
    assert len(taken) == len(set(taken)) == 55
    rest = [index for index in taken if index % 10]
    assert max(b - a for a, b in itertools.pairwise(rest)) <= 4
    assert subset(heard, 10_000) == list(range(100))


def test_steps_are_settings_that_the_search_may_move() -> None:
    assert set(STEPS) <= {field.name for field in dataclasses.fields(DecoderConfig)}


def test_calibrated_confidences_are_nearer_the_truth_on_other_utterances(lm_path) -> None:
    """Noisy letters: the raw confidence is far from the share of words that are right."""
    rng = np.random.default_rng(0)
    lm = LanguageModel.load(lm_path)

    def noisy(count: int) -> list[Heard]:
        heard = []
        for _ in range(count):
            text = " ".join(rng.choice(["tab", "bat", "at"], 2))
            logits = posteriors(text, {}).astype(np.float32) + rng.normal(0, 2.2, (2 * len(text), len(TOKENS)))
            log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            heard.append(Heard(text, "read", log_probs.astype(np.float32)))
        return heard

    known = frozenset(lm.words)
    config = DecoderConfig(beam_width=16, lm_weight=0.3, word_bonus=0.0, unknown_cost=3.0)
    with Listener(noisy(300), TOKENS, FRAME_S, lm_path) as listener:
        raw = listener.hypotheses(config)
        calibration = fit(listener.heard, raw, listener.hypotheses(config, interim=True), known)
        right = words_right(listener.heard, raw)
        assert 0.2 < right.mean() < 0.95
        fitted = listener.hypotheses(dataclasses.replace(config, calibration=calibration))
        # A logistic fit with a bias reproduces the mean of what it was fitted to.
        assert reliability(listener.heard, fitted).confidence == pytest.approx(right.mean(), abs=0.01)
    with Listener(noisy(300), TOKENS, FRAME_S, lm_path) as listener:
        before = reliability(listener.heard, listener.hypotheses(config))
        after = reliability(listener.heard, listener.hypotheses(dataclasses.replace(config, calibration=calibration)))
    assert after.word_ece < before.word_ece
    assert after.word_ece < 0.06
    assert after.text_ece < 0.1


def test_nothing_heard_and_nothing_said_do_not_break_the_fit() -> None:
    heard = [Heard("a", "read", np.zeros((4, 5)))]
    silent = [Hypothesis("", (), 1.0, 0.0)]
    calibration = fit(heard, silent, silent, None)
    assert np.isfinite(calibration.text.bias)
    assert reliability(heard, silent).words == 0
