"""The cabin simulator against what is published about car cabins: each claim measured, with its source.

Only plain drives are measured (engine, road, wind and the street outside; ventilation, rain and voices off), so that
what is compared is what the published figures are about. `docs/car.md` discusses the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment import cabin, events, measure
from asr.augment.cabin import Drive
from asr.augment.config import CabinConfig
from asr.augment.measure import Floats
from asr.augment.seeding import generator

SPEEDS_KMH = (0.0, 30.0, 50.0, 65.0, 80.0, 100.0, 115.0, 130.0)
ORDERS = tuple(float(order) for order in np.arange(0.5, 8.5, 0.5))
ORDER_RPM = 2400.0
ENGINES = {3: 1.5, 4: 2.0, 6: 3.0, 8: 4.0}
"""Cylinders of a four-stroke engine -> the order of its firing rate: half of them fire in each revolution."""

MODULATIONS_HZ = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

SOURCES = {
    "nvh": "NVH Basics, Intro 9: Aerodynamic Noise, rev. 12/30/2010 (scribd.com/document/167872794)",
    "autobild": "AUTO BILD, cabin noise of cars on test, 2011: the 30 quietest (elevatingsound.com/the-top-30-quietest-"
    "cars-a-cabin-noise-test-by-auto-bild) and the 30 noisiest (privatefleet.com.au/blog/blog/road-noise)",
    "schuller": "B. Schuller, Intelligent Audio Analysis, Springer 2013, chapter 10: noise recorded in four cars",
    "hoth": "Hoth room noise, IEEE 269-2001, table in soft-switch.org/spandsp-doc/noise_page.html",
    "sandberg": "U. Sandberg, The multi-coincidence peak around 1000 Hz in tyre/road noise spectra, Euronoise 2003",
    "traffic": "Exterior tyre/road noise rises by about 10 dB per doubling of speed: a chapter on vehicle noise, "
    "student.infinitycodestudio.com/?p=1918",
    "pang": "J. Pang, Noise and Vibration Control in Automotive Bodies, Wiley 2018, section 6.1",
    "orders": "diracdelta.co.uk, Engine orders: the second dominates in a four-cylinder engine, the third is what a "
    "six-cylinder fires at",
    "flor": "D. Flor et al., Evaluation of Acoustic Noise Level and Impulsiveness Inside Vehicles in Different Traffic "
    "Conditions, Sensors 22(5):1946, 2022",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One published property beside the simulator's.

    Attributes:
        name: what was measured.
        unit: of `measured`, `low` and `high`.
        measured: on the simulator.
        low, high: the published range; None where it is open.
        source: key into `SOURCES`.
    """

    name: str
    unit: str
    measured: float
    low: float | None
    high: float | None
    source: str

    @property
    def agrees(self) -> bool:
        """Whether the measured value lies within the published range."""
        low = -math.inf if self.low is None else self.low
        return low <= self.measured <= (math.inf if self.high is None else self.high)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "agrees": self.agrees}


@dataclass(frozen=True)
class Validation:
    """Everything that was measured.

    Attributes:
        spectra_db: speed in km/h -> mean density in third octaves, dB SPL per Hz, shape (24,).
        levels_dba: speed -> A-weighted level of each drive.
        parts_dba: "engine", "road", "wind" -> A-weighted level at each of `SPEEDS_KMH`; -inf where silent.
        orders_db: cylinders -> level of each of `ORDERS` at 2400 rpm, dB SPL.
        steadiness_db: standard deviation of the short-time level of driving, of its steady surrogate, and of voices.
        modulations_db: of the same three, at `MODULATIONS_HZ`.
        findings: the comparison.
        settings: seed, drives and seconds behind the numbers.
    """

    spectra_db: dict[float, Floats]
    levels_dba: dict[float, list[float]]
    parts_dba: dict[str, list[float]]
    orders_db: dict[int, Floats]
    steadiness_db: dict[str, float]
    modulations_db: dict[str, Floats]
    findings: tuple[Finding, ...]
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; levels in tenths of dB."""

        def rounded(values: Sequence[float] | Floats) -> list[float | None]:
            return [round(float(value), 1) if math.isfinite(value) else None for value in values]

        return {
            "settings": self.settings,
            "findings": [finding.to_json() for finding in self.findings],
            "agree": sum(finding.agrees for finding in self.findings),
            "third_octaves_hz": rounded(measure.THIRD_OCTAVES_HZ),
            "spectra_db_spl_per_hz": {f"{speed:g}": rounded(bands) for speed, bands in self.spectra_db.items()},
            "levels_dba": {f"{speed:g}": rounded(levels) for speed, levels in self.levels_dba.items()},
            "parts_dba": {part: rounded(levels) for part, levels in self.parts_dba.items()},
            "orders": list(ORDERS),
            "order_levels_db_spl": {str(count): rounded(levels) for count, levels in self.orders_db.items()},
            "level_deviation_db": {kind: round(value, 2) for kind, value in self.steadiness_db.items()},
            "modulations_hz": list(MODULATIONS_HZ),
            "modulation_db": {kind: rounded(levels) for kind, levels in self.modulations_db.items()},
            "sources": SOURCES,
        }


Part = Callable[[Drive, np.random.Generator, int], Samples]


class _Measurements:
    """The simulator's sounds, made once for all findings."""

    def __init__(self, drives: int, length_s: float, seed: int) -> None:
        self.drives, self.length, self.seed = drives, int(length_s * SAMPLE_RATE_HZ), seed

    @cached_property
    def clips(self) -> dict[float, list[tuple[Drive, Samples]]]:
        """Plain drives at each speed: engine, gear and road differ."""
        found: dict[float, list[tuple[Drive, Samples]]] = {}
        for speed_kmh in SPEEDS_KMH:
            clips = []
            for index in range(self.drives):
                rng = generator(self.seed, "validate", index)
                drive = cabin.draw_drive(rng, plain(speed_kmh))
                clips.append((drive, cabin.render(drive, rng, self.length)))
            found[speed_kmh] = clips
        return found

    def parts(self, make: Part, speed_kmh: float) -> list[Samples]:
        """One part of each of the drives at a speed, on an average road."""
        return [
            make(replace(drive, roughness_db=0.0), generator(self.seed, make.__name__, index), self.length)
            for index, (drive, _) in enumerate(self.clips[speed_kmh])
        ]

    def part_dba(self, make: Part, speed_kmh: float) -> float:
        """Mean A-weighted level of a part, -inf where it is silent."""
        levels = [measure.level_db(sound, a_weighted=True) for sound in self.parts(make, speed_kmh) if sound.any()]
        return float(np.mean(levels)) + cabin.FULL_SCALE_DB_SPL if levels else -math.inf

    def part_bands_db(self, make: Part, speed_kmh: float) -> Floats:
        """Mean third-octave density of a part."""
        bands = [measure.third_octaves_db(sound) for sound in self.parts(make, speed_kmh)]
        return np.asarray(np.mean(bands, axis=0))


def plain(speed_kmh: float) -> CabinConfig:
    """Drives at one speed with a combustion engine and nothing else switched on."""
    return CabinConfig(
        speed_kmh=(speed_kmh, speed_kmh),
        electric_probability=0.0,
        window_open_probability=0.0,
        fan_probability=0.0,
        rain_probability=0.0,
        indicator_probability=0.0,
    )


def validate(drives: int = 12, length_s: float = 10.0, seed: int = 0) -> Validation:
    """Measures the simulator and sets it beside what is published.

    Args:
        drives: plain drives at each of `SPEEDS_KMH`.
        length_s: of each.
        seed: of every draw.
    """
    sounds = _Measurements(drives, length_s, seed)
    full_db = cabin.FULL_SCALE_DB_SPL
    spectra = {
        speed: np.mean([measure.third_octaves_db(sound) for _, sound in clips], axis=0) + full_db
        for speed, clips in sounds.clips.items()
    }
    levels = {
        speed: [measure.level_db(sound, a_weighted=True) + full_db for _, sound in clips]
        for speed, clips in sounds.clips.items()
    }
    parts = {
        make.__name__: [sounds.part_dba(make, speed) for speed in SPEEDS_KMH]
        for make in (cabin.engine, cabin.road, cabin.wind)
    }
    orders = {count: _orders_db(count, sounds) for count in ENGINES}
    steadiness, modulations = _steadiness(sounds)
    found = [
        *_spectral_findings(spectra, sounds),
        *_level_findings(levels, parts, sounds),
        *(
            Finding(f"strongest order, {count} cylinders", "order", ORDERS[int(orders[count].argmax())], o, o, "orders")
            for count, o in ENGINES.items()
        ),
        Finding("excess kurtosis at 30 km/h", "", _kurtosis(sounds.clips[30.0]), 0.5, None, "flor"),
    ]
    settings = {"seed": seed, "drives": drives, "length_s": length_s}
    return Validation(spectra, levels, parts, orders, steadiness, modulations, tuple(found), settings)


def _spectral_findings(spectra: dict[float, Floats], sounds: _Measurements) -> list[Finding]:
    centres_hz = measure.THIRD_OCTAVES_HZ
    wind_db = sounds.part_bands_db(cabin.wind, 115.0)
    weighted_db = wind_db + 10.0 * np.log10(centres_hz) + measure.a_weighting_db(centres_hz)
    road_db = sounds.part_bands_db(cabin.road, 65.0)
    high = centres_hz >= 500.0
    octaves = np.log2(centres_hz[high])
    above_line_db = road_db[high] - np.polyval(np.polyfit(octaves, road_db[high], 1), octaves)
    below = np.mean([measure.energy_below(sound, 500.0) for v in (50.0, 115.0) for _, sound in sounds.clips[v]])
    return [
        Finding(
            "tilt at 115 km/h, 100 to 4000 Hz", "dB/octave",
            measure.tilt_db_per_octave(spectra[115.0], 100.0, 4000.0), -11.0, -8.0, "nvh",
        ),
        Finding(
            "tilt of the wind alone, 250 to 4000 Hz", "dB/octave",
            measure.tilt_db_per_octave(wind_db, 250.0, 4000.0), -11.0, -8.0, "nvh",
        ),
        Finding(
            "A-weighted peak of the wind", "Hz", float(centres_hz[np.argmax(weighted_db)]),
            245.0, 510.0, "nvh",
        ),
        Finding(
            "tilt standing still, 100 to 4000 Hz", "dB/octave",
            measure.tilt_db_per_octave(spectra[0.0], 100.0, 4000.0), -6.0, -4.0, "hoth",
        ),
        Finding("energy below 500 Hz at 50 and 115 km/h", "share", float(below), 0.5, 1.0, "schuller"),
        Finding(
            "peak of the tyres above 500 Hz", "Hz", float(centres_hz[high][np.argmax(above_line_db)]),
            700.0, 1300.0, "sandberg",
        ),
    ]  # fmt: skip


def _level_findings(
    levels: dict[float, list[float]], parts: dict[str, list[float]], sounds: _Measurements
) -> list[Finding]:
    mean = {speed: float(np.mean(values)) for speed, values in levels.items()}
    doubling = {
        make.__name__: measure.level_db(sounds.parts(make, 100.0)[0]) - measure.level_db(sounds.parts(make, 50.0)[0])
        for make in (cabin.road, cabin.wind)
    }
    lead = {speed: parts["wind"][index] - parts["road"][index] for index, speed in enumerate(SPEEDS_KMH) if speed > 0}
    return [
        Finding("level at 100 km/h", "dB(A)", mean[100.0], 58.0, 78.0, "autobild"),
        Finding("level at 130 km/h", "dB(A)", mean[130.0], 62.0, 83.0, "autobild"),
        Finding("rise from 100 to 130 km/h", "dB(A)", mean[130.0] - mean[100.0], 3.0, 7.0, "autobild"),
        Finding("road, rise per doubling of speed", "dB", doubling["road"], 9.0, 11.0, "traffic"),
        Finding("wind, rise per doubling of speed", "dB", doubling["wind"], 16.0, 18.5, "nvh"),
        Finding("wind over road at 65 km/h", "dB(A)", lead[65.0], None, 0.0, "pang"),
        Finding("wind over road at 115 km/h", "dB(A)", lead[115.0], 0.0, None, "pang"),
    ]


def _orders_db(cylinders: int, sounds: _Measurements) -> Floats:
    """Level of each order of one engine at `ORDER_RPM`, in third gear."""
    drive = Drive(ORDER_RPM / 1000.0 * cabin.KMH_PER_1000_RPM[2], 3, ORDER_RPM, cylinders=cylinders)
    sound = cabin.engine(drive, generator(sounds.seed, "validate orders", cylinders), sounds.length)
    return measure.order_levels_db(sound, ORDER_RPM, ORDERS) + cabin.FULL_SCALE_DB_SPL


def _steadiness(sounds: _Measurements) -> tuple[dict[str, float], dict[str, Floats]]:
    driving = [sound for speed in (50.0, 100.0) for _, sound in sounds.clips[speed]]
    steady = [
        measure.surrogate(sound, generator(sounds.seed, "surrogate", index)) for index, sound in enumerate(driving)
    ]
    voices = [events.babble(1, generator(sounds.seed, "voice", index), sounds.length) for index in range(len(driving))]
    kinds = {"driving": driving, "steady surrogate": steady, "one voice": voices}
    deviation = {kind: float(np.mean([_deviation_db(sound) for sound in group])) for kind, group in kinds.items()}
    modulations = {
        kind: np.mean([measure.modulation_db(sound, MODULATIONS_HZ) for sound in group], axis=0)
        for kind, group in kinds.items()
    }
    return deviation, modulations


def _deviation_db(samples: Samples) -> float:
    """Standard deviation of the short-time level; pauses count as 40 dB below the loudest window."""
    levels = measure.short_time_levels_db(samples)
    return float(np.maximum(levels, levels.max() - 40.0).std())


def _kurtosis(clips: Sequence[tuple[Drive, Samples]]) -> float:
    normalised = [sound / sound.std() for _, sound in clips]
    return float(np.mean([np.mean(sound.astype(np.float64) ** 4) for sound in normalised]) - 3.0)
