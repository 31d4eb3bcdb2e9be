"""A parametric car cabin: what a microphone in a moving car hears besides the speaker.

Levels are sound pressure levels in dB; `FULL_SCALE_DB_SPL` maps them to samples. The laws are textbook
vehicle acoustics in round numbers: rolling noise rises by about 30 dB per decade of speed and falls steeply
with frequency, wind (turbulence) rises by about 60 dB per decade and reaches higher, the engine sounds at
multiples of its firing rate (cylinders / 2 per revolution of a four-stroke engine) with weaker half orders.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment import events
from asr.augment.config import CabinConfig
from asr.augment.loops import coloured, drift

FULL_SCALE_DB_SPL = 110.0
IDLE_RPM = 800.0
KMH_PER_1000_RPM = (8.0, 14.0, 21.0, 29.0, 38.0, 47.0)
"""Road speed at 1000 revolutions per minute in each gear of a typical passenger car."""

_COMFORTABLE_RPM = (1200.0, 3400.0)


@dataclass(frozen=True, slots=True)
class Drive:
    """One situation in a car.

    Attributes:
        speed_kmh: road speed.
        gear: 1 to 6, 0 when idling.
        rpm: engine revolutions per minute; 0 for an electric car.
        cylinders: of the four-stroke engine.
        roughness_db: of the road, added to its level.
        window_open: a window is open.
        fan: setting of the ventilation, 0 (off) to 4.
        rain: intensity in [0, 1]; 0 is dry. The wipers run when it rains.
        indicator: the turn indicator clicks.
        babble: number of other voices.
        music: the radio plays.
    """

    speed_kmh: float
    gear: int
    rpm: float
    cylinders: int = 4
    roughness_db: float = 0.0
    window_open: bool = False
    fan: int = 0
    rain: float = 0.0
    indicator: bool = False
    babble: int = 0
    music: bool = False

    def describe(self) -> dict[str, Any]:
        """For the manifest, without what is off."""
        return {key: value for key, value in asdict(self).items() if value not in (0, False)}


def draw_drive(rng: np.random.Generator, config: CabinConfig) -> Drive:
    """Draws a situation within the ranges of `config`."""
    speed_kmh = float(rng.uniform(*config.speed_kmh))
    gear, rpm = _draw_gear(rng, speed_kmh)
    if rng.random() < config.electric_probability:
        gear, rpm = 0, 0.0
    rain = float(rng.uniform(0.1, 1.0)) if rng.random() < config.rain_probability else 0.0
    return Drive(
        speed_kmh=round(speed_kmh, 1),
        gear=gear,
        rpm=round(rpm),
        cylinders=int(rng.choice([3, 4, 4, 4, 6, 8])),
        roughness_db=round(float(rng.normal(0.0, 3.0)), 1),
        window_open=bool(rng.random() < config.window_open_probability),
        fan=int(rng.integers(1, 5)) if rng.random() < config.fan_probability else 0,
        rain=round(rain, 2),
        indicator=bool(rng.random() < config.indicator_probability),
        babble=int(rng.integers(1, 4)) if rng.random() < config.babble_probability else 0,
        music=bool(rng.random() < config.music_probability),
    )


def _draw_gear(rng: np.random.Generator, speed_kmh: float) -> tuple[int, float]:
    if speed_kmh < 8.0:
        return 0, float(rng.normal(IDLE_RPM, 40.0))
    speeds = [1000.0 * speed_kmh / ratio for ratio in KMH_PER_1000_RPM]
    fitting = [gear for gear, rpm in enumerate(speeds, 1) if _COMFORTABLE_RPM[0] <= rpm <= _COMFORTABLE_RPM[1]]
    gear = int(rng.choice(fitting)) if fitting else (1 if speeds[0] < _COMFORTABLE_RPM[0] else len(speeds))
    return gear, max(IDLE_RPM, speeds[gear - 1])


def render(drive: Drive, rng: np.random.Generator, length: int) -> Samples:
    """The sound of `drive`: a seamless loop of shape (length,), within [-1, 1]."""
    mix = engine(drive, rng, length) + road(drive, rng, length) + wind(drive, rng, length) + surroundings(rng, length)
    if drive.fan:
        mix += fan(drive.fan, rng, length)
    if drive.rain:
        mix += pressure(events.rain(drive.rain, rng, length), 52.0 + 20.0 * drive.rain)
        mix += pressure(events.wipers(drive.rain, rng, length), 58.0)
    if drive.indicator:
        mix += pressure(events.indicator(rng, length), 52.0)
    if drive.babble:
        mix += pressure(events.babble(drive.babble, rng, length), float(rng.uniform(58.0, 68.0)))
    if drive.music:
        mix += pressure(events.music(rng, length), float(rng.uniform(58.0, 72.0)))
    return mix / np.float32(max(1.0, float(np.abs(mix).max())))


def pressure(signal: Samples, level_db_spl: float) -> Samples:
    """Scales a signal of any level to a sound pressure level; silence stays silent."""
    rms = float(np.sqrt(np.mean(signal.astype(np.float64) ** 2)))
    if rms == 0.0:
        return signal
    return signal * np.float32(10.0 ** ((level_db_spl - FULL_SCALE_DB_SPL) / 20.0) / rms)


def engine(drive: Drive, rng: np.random.Generator, length: int) -> Samples:
    """Harmonics of the firing rate and weaker half orders, the rev count hunting by about 1 %; silent if electric.

    Frequencies are drawn on a circle, so a rev count is rounded to whole cycles (two revolutions) in `length`.
    """
    if not drive.rpm:
        return np.zeros(length, np.float32)
    wander = 1.0 + np.clip(0.008 * drift(rng, length, 0.5), -0.03, 0.03).astype(np.float64)
    cycles = np.cumsum(wander * (drive.rpm / 120.0 / SAMPLE_RATE_HZ))
    cycles *= max(1.0, np.round(cycles[-1])) / cycles[-1]
    angle = (2.0 * np.pi * np.mod(cycles, 1.0)).astype(np.float32)
    sound = np.zeros(length, np.float32)
    for order, amplitude in _engine_orders(drive, rng):
        sound += np.float32(amplitude) * np.sin(np.float32(order) * angle + np.float32(rng.uniform(0, 2 * np.pi)))
    load = 10.0 ** (1.5 * drift(rng, length, 0.3) / 20.0)
    return pressure(sound * load.astype(np.float32), 62.0 + 30.0 * np.log10(drive.rpm / IDLE_RPM))


def _engine_orders(drive: Drive, rng: np.random.Generator) -> list[tuple[int, float]]:
    """(multiple of the working cycle, amplitude): an order k of the cycle sounds at k * rpm / 120 Hz."""
    orders: list[tuple[int, float]] = []
    highest = min(16 * drive.cylinders, int(2000.0 / (drive.rpm / 120.0)))
    between = range(1, min(3 * drive.cylinders, highest) + 1)
    for order in sorted({*between, *range(drive.cylinders, highest + 1, drive.cylinders)}):
        harmonic = order / drive.cylinders
        level_db = -9.0 * np.log2(max(harmonic, 1.0)) + rng.normal(0.0, 2.0)
        if order % drive.cylinders:
            level_db -= 22.0 if order % 2 else 16.0
        orders.append((order, 10.0 ** (level_db / 20.0)))
    return orders


def road(drive: Drive, rng: np.random.Generator, length: int) -> Samples:
    """Tyres and road: 30 dB per decade of speed, falling by 10 dB per octave above 80 Hz, resonances."""
    if drive.speed_kmh < 1.0:
        return np.zeros(length, np.float32)
    cavity_hz, body_hz = rng.uniform(190.0, 240.0), rng.uniform(30.0, 55.0)

    def shape_db(frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        falling = -10.0 * np.log2(np.maximum(frequency_hz, 80.0) / 80.0)
        rising = 12.0 * np.log2(np.minimum(frequency_hz, 25.0) / 25.0)
        resonances = ((body_hz, 6.0), (cavity_hz, 7.0), (900.0, 5.0))
        return falling + rising + sum(_bump(frequency_hz, centre_hz, high_db) for centre_hz, high_db in resonances)

    noise = coloured(rng, length, shape_db) * (10.0 ** (1.5 * drift(rng, length, 1.0) / 20.0)).astype(np.float32)
    return pressure(noise, 78.0 + 30.0 * np.log10(drive.speed_kmh / 50.0) + drive.roughness_db)


def wind(drive: Drive, rng: np.random.Generator, length: int) -> Samples:
    """Turbulence: 60 dB per decade of speed, falling by 7 dB per octave above 200 Hz, in gusts; louder by a window."""
    if drive.speed_kmh < 1.0:
        return np.zeros(length, np.float32)
    corner_hz = rng.uniform(150.0, 300.0)

    def shape_db(frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        falling = -7.0 * np.log2(np.maximum(frequency_hz, corner_hz) / corner_hz)
        falling -= 4.0 * np.log2(np.maximum(frequency_hz, 4000.0) / 4000.0)
        return falling + 6.0 * np.log2(np.minimum(frequency_hz, 40.0) / 40.0)

    gusts = (10.0 ** (2.0 * drift(rng, length, 2.0) / 20.0)).astype(np.float32)
    level_db = 56.0 + 60.0 * np.log10(drive.speed_kmh / 50.0) + (10.0 if drive.window_open else 0.0)
    return pressure(coloured(rng, length, shape_db) * gusts, level_db)


def surroundings(rng: np.random.Generator, length: int) -> Samples:
    """The street outside a closed car: what is left when it stands still, falling by 5 dB per octave above 150 Hz."""

    def shape_db(frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return -5.0 * np.log2(np.maximum(frequency_hz, 150.0) / 150.0)

    swell = (10.0 ** (2.0 * drift(rng, length, 0.3) / 20.0)).astype(np.float32)
    return pressure(coloured(rng, length, shape_db) * swell, float(rng.uniform(44.0, 54.0)))


def fan(setting: int, rng: np.random.Generator, length: int) -> Samples:
    """Ventilation at setting 1 to 4: broad noise falling by 4 dB per octave above 250 Hz and a faint blade tone."""
    blade_hz = 110.0 + 90.0 * setting + rng.uniform(-20.0, 20.0)

    def shape_db(frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        falling = -4.0 * np.log2(np.maximum(frequency_hz, 250.0) / 250.0)
        rising = 6.0 * np.log2(np.minimum(frequency_hz, 60.0) / 60.0)
        return falling + rising + _bump(frequency_hz, blade_hz, 10.0, octaves=0.03)

    return pressure(coloured(rng, length, shape_db), 46.0 + 6.0 * setting)


def _bump(
    frequency_hz: npt.NDArray[np.float64], centre_hz: float, height_db: float, octaves: float = 0.35
) -> npt.NDArray[np.float64]:
    """A resonance on a logarithmic frequency axis: `height_db` at the centre, `octaves` wide."""
    return height_db * np.exp(-0.5 * (np.log2(frequency_hz / centre_hz) / octaves) ** 2)
