"""What every engine offers, the registry of engines, and trimming of silence."""

from __future__ import annotations

import functools
import importlib
from typing import Protocol

import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.errors import ConfigError
from asr.synth.voices import Voice

MIN_SPEED, MAX_SPEED = 0.5, 2.0
MIN_PITCH, MAX_PITCH = 0.5, 2.0


class Engine(Protocol):
    """A speech synthesiser. An instance may be used by one thread at a time."""

    name: str
    has_pitch: bool
    """Whether `speak` heeds `pitch`; an engine that does not refuses anything but 1."""
    can_blend: bool
    """Whether a voice may be a blend of several."""

    def voices(self) -> list[Voice]:
        """The catalogue's voices that this installation can speak with."""
        ...

    def speak(self, text: str, voice: Voice, speed: float = 1.0, pitch: float = 1.0) -> Samples:
        """Speaks `text`.

        Args:
            text: plain English.
            voice: one of this engine's voices.
            speed: 2 is twice as fast.
            pitch: factor on the fundamental frequency.

        Returns:
            Samples of shape (T,), mono float32 in [-1, 1] at 16 kHz; silence is not trimmed.

        Raises:
            ConfigError: speed, pitch or voice that the engine does not have.
            MissingDependencyError: a voice or library is not installed.
        """
        ...


ENGINES = {
    "espeak": "asr.synth.espeak:Espeak",
    "flite": "asr.synth.flite:Flite",
    "kokoro": "asr.synth.kokoro:Kokoro",
}
"""Name to class; a new engine is one file and one line here."""


def open_engine(name: str) -> Engine:
    """Loads an engine.

    Raises:
        ConfigError: there is no engine of that name.
        MissingDependencyError: its program, library or model is not installed; says how to get it.
    """
    if name not in ENGINES:
        raise ConfigError(f"there is no speech engine {name!r}; known: {', '.join(ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)()
    return engine


@functools.cache
def loaded_engine(name: str) -> Engine:
    """The process's one engine of that kind: models are large. Raises as `open_engine`."""
    return open_engine(name)


def check_request(engine: Engine, text: str, voice: Voice, speed: float, pitch: float) -> None:
    """Raises `ConfigError` if `engine` cannot be asked for this."""
    if voice.engine != engine.name:
        raise ConfigError(f"{voice.id} is not a voice of {engine.name}")
    if not text.strip():
        raise ConfigError("there is nothing to say: the text is empty")
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise ConfigError(f"speed must lie between {MIN_SPEED} and {MAX_SPEED}, found {speed}")
    if not MIN_PITCH <= pitch <= MAX_PITCH:
        raise ConfigError(f"pitch must lie between {MIN_PITCH} and {MAX_PITCH}, found {pitch}")
    if pitch != 1.0 and not engine.has_pitch:
        raise ConfigError(f"{engine.name} has no pitch control; leave pitch at 1")


def trim_silence(samples: Samples, margin_s: float = 0.1, floor_db: float = -45.0) -> Samples:
    """Cuts leading and trailing silence down to `margin_s`.

    A 10 ms frame is silent if its level lies `floor_db` below the loudest frame's. Audio that is silent
    throughout is returned as it is.
    """
    frame = SAMPLE_RATE_HZ // 100
    count = len(samples) // frame
    if count == 0:
        return samples
    power = (samples[: count * frame].reshape(count, frame).astype(np.float64) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (floor_db / 10))
    if len(loud) == 0:
        return samples
    margin = round(margin_s * SAMPLE_RATE_HZ)
    return samples[max(0, loud[0] * frame - margin) : (loud[-1] + 1) * frame + margin]
