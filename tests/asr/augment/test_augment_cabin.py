"""The cabin obeys the acoustics it claims: spectra, levels against speed, engine orders, seamless loops."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.signal import welch

from asr.augment import cabin, events, loops
from asr.augment.config import CabinConfig

RATE_HZ = 16_000
LENGTH = 10 * RATE_HZ


def rms_db(samples):
    return 10.0 * np.log10(np.mean(samples.astype(np.float64) ** 2))


def band_density_db(samples, low_hz, high_hz):
    frequency_hz, density = welch(samples, RATE_HZ, nperseg=4096)
    return 10.0 * np.log10(density[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].mean())


def drive_at(speed_kmh, rpm=2400.0, gear=5, **others):
    return cabin.Drive(speed_kmh, gear, rpm, **others)


@pytest.mark.parametrize("speed_kmh", [30.0, 80.0, 130.0])
def test_the_spectrum_falls_with_frequency(speed_kmh):
    sound = cabin.render(drive_at(speed_kmh), np.random.default_rng(2), LENGTH)
    bands = [band_density_db(sound, low, 2 * low) for low in (60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)]
    assert all(lower > higher for lower, higher in itertools.pairwise(bands)), bands
    assert bands[0] - bands[-1] > 25.0


def test_rolling_noise_rises_by_30_db_and_wind_by_60_db_per_decade_of_speed():
    for sound, per_decade in ((cabin.road, 30.0), (cabin.wind, 60.0)):
        levels = [rms_db(sound(drive_at(v), np.random.default_rng(3), LENGTH)) for v in (12.0, 40.0, 120.0)]
        assert levels[2] - levels[0] == pytest.approx(per_decade, abs=0.01)
        assert levels[0] < levels[1] < levels[2]


def test_the_whole_cabin_gets_louder_with_speed():
    speeds_kmh = (0.0, 30.0, 60.0, 90.0, 130.0)
    levels = [rms_db(cabin.render(drive_at(v), np.random.default_rng(4), LENGTH)) for v in speeds_kmh]
    assert levels == sorted(levels)


@pytest.mark.parametrize(("rpm", "cylinders"), [(3000.0, 4), (1800.0, 6), (2400.0, 3)])
def test_engine_sounds_at_multiples_of_its_firing_rate(rpm, cylinders):
    drive = drive_at(50.0, rpm=rpm, cylinders=cylinders)
    sound = cabin.engine(drive, np.random.default_rng(5), LENGTH)
    firing_hz = rpm / 60.0 * cylinders / 2.0
    frequency_hz, density = welch(sound, RATE_HZ, nperseg=16_384)
    for harmonic in (1, 2, 3):
        near = np.abs(frequency_hz - harmonic * firing_hz) < firing_hz / 2.0
        peak_hz = frequency_hz[near][density[near].argmax()]
        assert peak_hz == pytest.approx(harmonic * firing_hz, rel=0.03)


def test_a_faster_engine_is_louder_and_an_electric_one_silent():
    idle, fast = (cabin.engine(drive_at(0.0, rpm=rpm), np.random.default_rng(6), LENGTH) for rpm in (800.0, 3200.0))
    assert rms_db(fast) - rms_db(idle) == pytest.approx(30.0 * np.log10(4.0), abs=0.01)
    assert not cabin.engine(drive_at(50.0, rpm=0.0), np.random.default_rng(6), LENGTH).any()


@pytest.mark.parametrize(
    "extra", [{"fan": 4}, {"rain": 0.9}, {"indicator": True}, {"babble": 3}, {"music": True}, {"window_open": True}]
)
def test_every_option_is_heard(extra):
    plain = drive_at(40.0, rpm=0.0)
    quiet = cabin.render(plain, np.random.default_rng(7), LENGTH)
    sound = cabin.render(dataclasses.replace(plain, **extra), np.random.default_rng(7), LENGTH)
    octaves = [(low_hz, 2.0 * low_hz) for low_hz in (250.0, 500.0, 1000.0, 2000.0, 3900.0)]
    assert max(band_density_db(sound, *octave) - band_density_db(quiet, *octave) for octave in octaves) > 1.0
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1.0


def test_indicator_clicks_three_times_two_a_second_evenly():
    sound = np.abs(events.indicator(np.random.default_rng(8), LENGTH))
    assert np.count_nonzero((sound[1:] > 0) & (sound[:-1] == 0)) >= 30
    starts = [index * LENGTH // 30 for index in range(30)]
    assert all(sound[start : start + 200].max() > 0.2 for start in starts)


@pytest.mark.parametrize("seed", range(6))
def test_clips_are_seamless_loops(seed):
    config = CabinConfig(babble_probability=0.5, music_probability=0.5)
    rng = np.random.default_rng(seed)
    sound = cabin.render(cabin.draw_drive(rng, config), rng, LENGTH)
    jumps = np.abs(np.diff(sound))
    assert abs(sound[0] - sound[-1]) <= np.quantile(jumps, 0.9999) * 1.5


def test_gears_keep_the_engine_in_a_sensible_range():
    rng = np.random.default_rng(9)
    drives = [cabin.draw_drive(rng, CabinConfig(electric_probability=0.0)) for _ in range(500)]
    assert all(650.0 <= drive.rpm <= 3500.0 for drive in drives)
    assert all(drive.gear > 0 for drive in drives if drive.speed_kmh > 8.0)
    moving = [drive for drive in drives if drive.gear]
    for drive in moving:
        expected = 1000.0 * drive.speed_kmh / cabin.KMH_PER_1000_RPM[drive.gear - 1]
        assert drive.rpm == pytest.approx(max(cabin.IDLE_RPM, expected), rel=0.02)


def test_cut_repeats_the_loop_and_place_wraps_around():
    loop = np.arange(5, dtype=np.float32)
    assert loops.cut(loop, 3, 9).tolist() == [3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert loops.cut(loop, 12, 2).tolist() == [2, 3]
    target = np.zeros(5, np.float32)
    loops.place(target, np.ones(3, np.float32), 4)
    assert target.tolist() == [1, 1, 0, 0, 1]


def test_a_recording_is_closed_without_a_step():
    ramp = np.linspace(-1.0, 1.0, RATE_HZ, dtype=np.float32)
    loop = loops.closed(ramp)
    assert abs(loop[0] - loop[-1]) < 0.01
    assert len(loop) == RATE_HZ - int(0.05 * RATE_HZ)
