"""Sounds in a car that are not its drive: rain, wipers, indicator, voices, radio. Levels are set by the caller.

Every function returns a seamless loop of shape (length,), float32, of arbitrary level.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, lfilter, sosfilt

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.loops import coloured, drift, place

_FORMANTS_HZ = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
    (490, 1350, 1690),
)
"""First three formants of six American English vowels (Peterson and Barney, 1952)."""

_FORMANT_WIDTHS_HZ = (80.0, 100.0, 140.0)


def rain(intensity: float, rng: np.random.Generator, length: int) -> Samples:
    """A hiss that falls by 3 dB per octave above 1 kHz, and single drops on the roof (damped 300 to 2500 Hz tones)."""

    def shape_db(frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return -3.0 * np.log2(np.maximum(frequency_hz, 1000.0) / 1000.0) + 4.0 * np.log2(
            np.minimum(frequency_hz, 500.0) / 500.0
        )

    hiss = coloured(rng, length, shape_db)
    drops = np.zeros(length, np.float32)
    time_s = np.arange(int(0.03 * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    for _ in range(int(rng.poisson(60.0 * intensity * length / SAMPLE_RATE_HZ))):
        decay_s, tone_hz = rng.uniform(0.002, 0.008), rng.uniform(300.0, 2500.0)
        drop = rng.gamma(1.0, 6.0) * np.exp(-time_s / decay_s) * np.sin(2.0 * np.pi * tone_hz * time_s)
        place(drops, drop.astype(np.float32), int(rng.integers(length)))
    return hiss + drops


def wipers(intensity: float, rng: np.random.Generator, length: int) -> Samples:
    """Two strokes a wipe: rubber noise around 400 to 1500 Hz with a thump at each turn; faster in heavier rain."""
    wipes = max(1, round(length / SAMPLE_RATE_HZ * (0.3 + 0.6 * intensity)))
    sound = np.zeros(length, np.float32)
    stroke = int(0.45 * min(1.0, length / wipes / SAMPLE_RATE_HZ) * SAMPLE_RATE_HZ)
    rubber = butter(2, (400.0, 1500.0), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    thump_s = np.arange(int(0.08 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = np.sin(2.0 * np.pi * rng.uniform(70.0, 120.0) * thump_s)
    thump = (3.0 * np.exp(-thump_s / 0.015) * tone).astype(np.float32)
    for wipe in range(wipes):
        start = wipe * length // wipes
        for turn in (0, stroke):
            noise = sosfilt(rubber, rng.standard_normal(stroke)) * np.sin(np.pi * np.arange(stroke) / stroke) ** 2
            place(sound, noise.astype(np.float32), start + turn)
            place(sound, thump, start + turn + stroke)
    return sound


def indicator(rng: np.random.Generator, length: int) -> Samples:
    """A relay's tick and tock, about 1.5 pairs a second, each a few milliseconds of damped 1.5 to 4 kHz."""
    pairs = max(1, round(1.5 * length / SAMPLE_RATE_HZ))
    sound = np.zeros(length, np.float32)
    time_s = np.arange(int(0.02 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tones_hz = rng.uniform(1500.0, 2600.0), rng.uniform(2600.0, 4000.0)
    clicks = [(np.exp(-time_s / 0.003) * np.sin(2.0 * np.pi * tone * time_s)).astype(np.float32) for tone in tones_hz]
    for half in range(2 * pairs):
        place(sound, clicks[half % 2], half * length // (2 * pairs))
    return sound


def babble(voices: int, rng: np.random.Generator, length: int) -> Samples:
    """Several people talking nonsense at once: see `voice`."""
    sound = np.zeros(length, np.float32)
    for _ in range(voices):
        sound += np.float32(10.0 ** (rng.uniform(-6.0, 0.0) / 20.0)) * voice(rng, length)
    return sound


def voice(rng: np.random.Generator, length: int) -> Samples:
    """Speech-like nonsense by source and filter: gliding pitch, random vowels and hisses, 3 to 6 syllables a second."""
    pitch_hz = rng.uniform(90.0, 230.0)
    glide = pitch_hz * 2.0 ** (drift(rng, length, 1.5).astype(np.float64) * 0.12)
    phase = np.cumsum(glide / SAMPLE_RATE_HZ)
    source = np.diff(np.floor(phase), prepend=0.0)
    sound = np.zeros(length, np.float32)
    position = int(rng.integers(length))
    end = position + length
    scale = rng.uniform(0.9, 1.2)
    while position < end:
        syllable = int(rng.uniform(0.16, 0.33) * SAMPLE_RATE_HZ)
        if rng.random() < 0.15:
            position += int(rng.uniform(0.2, 0.9) * SAMPLE_RATE_HZ)
        piece = np.take(source, np.arange(position, position + syllable), mode="wrap")
        envelope = np.sin(np.pi * np.arange(syllable) / syllable) ** 0.7
        place(sound, (_vowel(piece, rng, scale) * envelope).astype(np.float32), position)
        if rng.random() < 0.5:
            hiss = np.diff(rng.standard_normal(syllable // 3 + 1)) * np.hanning(syllable // 3) * 0.02
            place(sound, hiss.astype(np.float32), position + syllable)
        position += syllable
    return sound / np.float32(np.sqrt(np.mean(sound**2)) + 1e-12)


def _vowel(source: npt.NDArray[np.float64], rng: np.random.Generator, scale: float) -> npt.NDArray[np.float64]:
    """Pulses through three formant resonators in cascade and the source's fall of 6 dB per octave."""
    formants = _FORMANTS_HZ[int(rng.integers(len(_FORMANTS_HZ)))]
    signal = lfilter([1.0], [1.0, -0.9], source)
    for centre_hz, width_hz in zip(formants, _FORMANT_WIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width_hz / SAMPLE_RATE_HZ)
        poles = [1.0, -2.0 * radius * np.cos(2.0 * np.pi * centre_hz * scale / SAMPLE_RATE_HZ), radius**2]
        signal = lfilter([sum(poles)], poles, signal)
    return np.asarray(signal)


def music(rng: np.random.Generator, length: int) -> Samples:
    """A radio playing: four-chord loops with bass and a drum beat at 80 to 140 beats a minute, small-speaker band."""
    beats = max(4, round(length / SAMPLE_RATE_HZ * rng.uniform(80.0, 140.0) / 60.0))
    root_hz = 110.0 * 2.0 ** (rng.integers(12) / 12.0)
    degrees = rng.permutation([0, 5, 7, 9])
    sound = np.zeros(length, np.float32)
    for beat in range(beats):
        start = beat * length // beats
        chord = int(degrees[(beat // 4) % 4])
        third = 3 if chord == 9 else 4
        for interval in (chord - 12, chord, chord + third, chord + 7):
            place(sound, _note(root_hz * 2.0 ** (interval / 12.0), 0.25 + 0.5 * rng.random(), rng), start)
        melody = root_hz * 2.0 ** (1.0 + rng.choice([0, 2, 4, 7, 9, 12]) / 12.0)
        place(sound, _note(melody, 0.3, rng), start + length // beats // 2)
        hat = rng.standard_normal(800) * np.exp(-np.arange(800) / 160.0) * 0.25
        place(sound, hat.astype(np.float32), start + length // beats // 2)
        kick_s = np.arange(2400) / SAMPLE_RATE_HZ
        kick = np.sin(2.0 * np.pi * (50.0 * kick_s + 4.0 * (1.0 - np.exp(-kick_s * 40.0)))) * np.exp(-kick_s * 18.0)
        place(sound, kick.astype(np.float32), start)
    return sound


def _note(pitch_hz: float, decay_s: float, rng: np.random.Generator) -> Samples:
    time_s = np.arange(int(0.6 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    note = np.zeros(len(time_s))
    for harmonic in range(1, 6):
        note += np.sin(2.0 * np.pi * harmonic * pitch_hz * time_s + rng.uniform(0.0, 6.28)) / harmonic**1.3
    fade = np.minimum(1.0, np.minimum(time_s / 0.005, (time_s[-1] - time_s) / 0.02))
    return np.asarray(0.3 * note * np.exp(-time_s / decay_s) * fade, dtype=np.float32)
