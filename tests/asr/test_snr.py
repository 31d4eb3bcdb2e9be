import numpy as np
import pytest

from asr.augment.cabin import CabinConfig, draw_drive, render
from asr.augment.level import active_speech_level_db, noise_gain, noise_level_db
from asr.snr import estimate_snr_db
from asr.synth import of_engine, open_engine, trim_silence

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return trim_silence(open_engine("espeak").speak("find the nearest petrol station", of_engine("espeak", "test")[0]))


def mixed(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    level_db, _ = active_speech_level_db(speech)
    padded = np.concatenate([np.zeros(RATE_HZ // 2), speech, np.zeros(len(noise) - len(speech) - RATE_HZ // 2)])
    return (padded + noise * noise_gain(level_db, noise_level_db(noise), snr_db)).astype(np.float32)


@pytest.mark.parametrize("snr_db", [0, 5, 10, 15, 20, 25])
@pytest.mark.parametrize("kind", ["white", "car"])
def test_agrees_with_exact_mixes(speech, kind, snr_db) -> None:
    rng = np.random.default_rng(5)
    length = len(speech) + 2 * RATE_HZ
    noise = rng.normal(0, 0.1, length) if kind == "white" else render(draw_drive(rng, CabinConfig()), rng, length)
    found = estimate_snr_db(mixed(speech, noise.astype(np.float32), snr_db), 0.5, 0.5 + len(speech) / RATE_HZ)
    assert found == pytest.approx(snr_db, abs=1 if kind == "white" else 6 if snr_db == 0 else 4)


def test_what_cannot_be_estimated(speech) -> None:
    assert estimate_snr_db(np.zeros(0, np.float32), 0.0, 0.0) is None
    assert estimate_snr_db(speech[: RATE_HZ // 20], 0.0, 0.05) is None
    assert estimate_snr_db(speech, 1.0, 0.5) is None


def test_bounds(speech) -> None:
    clean = np.concatenate([np.zeros(RATE_HZ, np.float32), speech])
    assert estimate_snr_db(clean, 1.0, 1.0 + len(speech) / RATE_HZ) == 60
    assert estimate_snr_db(np.zeros(RATE_HZ, np.float32), 0.2, 0.8) == 0
    loud_outside = np.concatenate([speech, np.random.default_rng(0).normal(0, 1e-4, RATE_HZ).astype(np.float32)])
    assert estimate_snr_db(loud_outside, len(speech) / RATE_HZ + 0.3, len(speech) / RATE_HZ + 0.8) == pytest.approx(
        -10, abs=10
    )
