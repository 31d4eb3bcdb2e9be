"""The augmenter: every effect in the order in which sound meets it, each drawn from the seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soxr

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.channel import CHANNELS
from asr.augment.config import AugmentConfig, SnrBand
from asr.augment.level import SILENCE_DB, active_speech_level_db, noise_gain, noise_level_db, peak
from asr.augment.noise import NoiseSource
from asr.augment.room import RoomBank, reverberate
from asr.augment.seeding import generator

CEILING = 0.99
"""No sample leaves the augmenter above this magnitude."""


class Augmenter:
    """Speaker's speed, then the room, the noise at the microphone, the channel and the gain.

    Pure: the result depends on the configuration, the seed, the utterance's id, the epoch and the files only.
    Noise clips and rooms are made once per instance, when first needed; an instance may be pickled into
    data-loader workers, where each makes its own.

    Args:
        config: what to do.
        seed: of every draw.
        noise_dir: the user's noise files, for the noise kind ``files``; without it that kind is never drawn.
        room_dir: the user's impulse responses, for the room kind ``files``.

    Raises:
        ConfigError: the configuration needs files that are not there.
    """

    def __init__(
        self,
        config: AugmentConfig,
        seed: int,
        noise_dir: str | Path | None = None,
        room_dir: str | Path | None = None,
    ) -> None:
        self.config, self.seed = config, seed
        self.noise = NoiseSource(config.noise, config.cabin, seed, noise_dir)
        self.rooms = RoomBank(config.room, seed, room_dir)

    @property
    def skipped_heldout(self) -> list[str]:
        """Noise files left out because they are reserved for testing."""
        return self.noise.files.skipped_heldout if self.noise.files else []

    def apply(self, samples: Samples, utterance_id: str, epoch: int = 0) -> tuple[Samples, dict[str, Any]]:
        """Augments one utterance.

        Args:
            samples: shape (T,), mono float32 at 16 kHz.
            utterance_id: names the utterance; the same id, epoch and seed give the same result.
            epoch: another epoch gives other draws.

        Returns:
            Samples of shape (T / speed,), and the draws: always `seed`, `epoch`, `speed`, `room`, `noise`
            ("none", "cabin", "babble" or "file:STEM"), `snr_db` (None without noise), `channel` and `gain_db`.
        """
        draws: dict[str, Any] = {"seed": self.seed, "epoch": epoch}

        def rng(effect: str) -> np.random.Generator:
            return generator(self.seed, epoch, utterance_id, effect)

        result = self._speed(samples, rng("speed"), draws)
        result = self._room(result, rng("room"), draws)
        result = self._noise(result, rng("noise"), draws)
        result = self._channel(result, rng("channel"), draws)
        result = self._gain(result, rng("gain"), draws)
        return result, draws

    def _speed(self, samples: Samples, rng: np.random.Generator, draws: dict[str, Any]) -> Samples:
        config = self.config.speed
        factor = float(rng.choice(config.factors)) if rng.random() < config.probability else 1.0
        draws["speed"] = factor
        if factor == 1.0:
            return samples
        return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ), dtype=np.float32)

    def _room(self, samples: Samples, rng: np.random.Generator, draws: dict[str, Any]) -> Samples:
        draws["room"] = "none"
        if rng.random() >= self.config.room.probability:
            return samples
        response, room = self.rooms.response(int(rng.integers(self.config.room.rooms)))
        draws.update(room)
        return _below_ceiling(reverberate(samples, response))[0]

    def _noise(self, samples: Samples, rng: np.random.Generator, draws: dict[str, Any]) -> Samples:
        draws["noise"], draws["snr_db"] = "none", None
        if rng.random() >= self.config.noise.probability:
            return samples
        snr_db = _draw_snr_db(self.config.noise.snr_db, rng)
        speech_db, _ = active_speech_level_db(samples)
        if speech_db <= SILENCE_DB:
            draws["noise_left_out"] = "no active speech"
            return samples
        piece, what = self.noise.cut(rng, len(samples))
        noise_db = noise_level_db(piece)
        if noise_db <= SILENCE_DB:
            draws["noise_left_out"] = f"{what['noise']} is silent"
            return samples
        gain = noise_gain(speech_db, noise_db, snr_db)
        mix, scale = _below_ceiling(samples + np.float32(gain) * piece)
        draws.update(what)
        draws.update(snr_db=snr_db, speech_level_db=round(speech_db, 2))
        draws.update(noise_gain=float(f"{gain:.6g}"), mix_scale=float(f"{scale:.6g}"))
        return mix

    def _channel(self, samples: Samples, rng: np.random.Generator, draws: dict[str, Any]) -> Samples:
        config = self.config.channel
        draws["channel"] = "none"
        if rng.random() >= config.probability:
            return samples
        kinds = sorted(kind for kind, weight in config.kinds.items() if weight > 0)
        weights = np.array([config.kinds[kind] for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        result, parameters = CHANNELS[kind](samples, rng)
        draws.update(parameters, channel=kind)
        return _below_ceiling(result)[0]

    def _gain(self, samples: Samples, rng: np.random.Generator, draws: dict[str, Any]) -> Samples:
        config = self.config.gain
        draws["gain_db"] = 0.0
        if rng.random() >= config.probability:
            return samples
        highest = peak(samples)
        headroom_db = 20.0 * float(np.log10(CEILING / highest)) if highest > 0 else 0.0
        gain_db = min(float(rng.uniform(*config.range_db)), headroom_db)
        draws["gain_db"] = round(gain_db, 3)
        return samples * np.float32(10.0 ** (gain_db / 20.0))


def _draw_snr_db(setting: float | tuple[SnrBand, ...], rng: np.random.Generator) -> float:
    if not isinstance(setting, tuple):
        return float(setting)
    weights = np.array([band.weight for band in setting])
    band = setting[int(rng.choice(len(setting), p=weights / weights.sum()))]
    return round(float(rng.uniform(*band.range_db)), 2)


def _below_ceiling(samples: Samples) -> tuple[Samples, float]:
    """Scales down, never up, so that nothing exceeds `CEILING`; returns the factor too."""
    highest = peak(samples)
    if highest <= CEILING:
        return samples, 1.0
    scale = CEILING / highest
    return samples * np.float32(scale), scale
