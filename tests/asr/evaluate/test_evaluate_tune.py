import numpy as np

from asr.decode import DecoderConfig, LanguageModel, Tokens
from asr.decode.lm_build import estimate, write_arpa
from asr.evaluate.tune import Heard, tune

TOKENS = Tokens(["<blank>", " ", *"abt"])


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
    return np.log(np.array(frames)).astype(np.float32)


def test_tuning_finds_the_weight_that_lets_the_language_model_decide(tmp_path) -> None:
    write_arpa(estimate(["tab bat", "bat tab", "tab tab", "bat"] * 5, order=2), tmp_path / "lm.arpa")
    lm = LanguageModel.load(tmp_path / "lm.arpa")
    heard = [Heard(text, posteriors(text, {"t": "b"})) for text in ("tab bat", "bat tab", "tab")]
    trials = []
    start = DecoderConfig(lm_weight=0.0, word_bonus=0.0, unknown_cost=0.0)
    best = tune(heard, TOKENS, start, 0.02, lm, report=trials.append)
    assert trials[0].wer == 1.0
    assert best.wer == 0.0
    assert best.wer == min(trial.wer for trial in trials)
    assert best.config.beam_width == start.beam_width
