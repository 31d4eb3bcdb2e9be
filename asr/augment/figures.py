"""The figures of `asr.augment.validate`, as SVG documents."""

from __future__ import annotations

import numpy as np

from asr import svg
from asr.augment.measure import THIRD_OCTAVES_HZ
from asr.augment.validate import ENGINES, MODULATIONS_HZ, ORDERS, SPEEDS_KMH, Validation

HOTH_DB = (
    32.4, 30.9, 29.1, 27.6, 26.0, 24.4, 22.7, 21.1, 19.5, 17.8, 16.2, 14.6, 12.9, 11.3, 9.6, 7.8, 5.4, 2.6, -1.3,
)  # fmt: skip
"""Density of Hoth room noise at 50 dB(A) in third octaves from 100 Hz to 6.3 kHz, dB SPL per Hz (IEEE 269-2001)."""

TESTED_DBA = {100.0: (58.0, 78.0), 130.0: (62.0, 83.0)}
"""Quietest and noisiest of the cars that AUTO BILD measured in 2011, dB(A) in the cabin."""

_DRAWN_KMH = (0.0, 50.0, 80.0, 130.0)
_STEEP_DB, _FLAT_DB = -11.0, -8.0  # per octave, in density: 5 to 8 in third-octave levels


def figures(validation: Validation) -> dict[str, str]:
    """Each figure by the name of its file, without suffix."""
    with svg.style():
        return {
            "car-spectrum": _spectrum(validation),
            "car-level": _level(validation),
            "car-orders": _orders(validation),
            "car-steadiness": _steadiness(validation),
        }


def _spectrum(validation: Validation) -> str:
    figure, (axes,) = svg.new_figure()
    for colour, speed in zip(svg.COLOURS, _DRAWN_KMH, strict=False):
        label = "standing" if speed == 0 else f"{speed:g} km/h"
        axes.semilogx(THIRD_OCTAVES_HZ, validation.spectra_db[speed], color=colour, label=label)
    axes.semilogx(THIRD_OCTAVES_HZ[5:], HOTH_DB, color="black", linestyle=":", label="Hoth room noise, 50 dB(A)")
    start = validation.spectra_db[_DRAWN_KMH[-1]][9] + 6.0
    octaves = np.log2(THIRD_OCTAVES_HZ[9:] / THIRD_OCTAVES_HZ[9])
    axes.fill_between(
        THIRD_OCTAVES_HZ[9:],
        start + _STEEP_DB * octaves,
        start + _FLAT_DB * octaves,
        color="black",
        alpha=0.1,
        linewidth=0,
        label="slope published for wind",
    )
    axes.set(xlabel="Hz", ylabel="dB SPL per Hz")
    axes.set_xticks([50, 100, 200, 500, 1000, 2000, 5000], ["50", "100", "200", "500", "1k", "2k", "5k"])
    axes.minorticks_off()
    axes.legend()
    return svg.document(figure)


def _level(validation: Validation) -> str:
    figure, (axes,) = svg.new_figure()
    for number, (speed, (low, high)) in enumerate(TESTED_DBA.items()):
        axes.bar(
            speed, high - low, bottom=low, width=5, color="black", alpha=0.12, linewidth=0,
            label=None if number else "cars on test (AUTO BILD)",
        )  # fmt: skip
    moving = [speed for speed in SPEEDS_KMH if speed > 0]
    for colour, (part, levels) in zip(svg.COLOURS[1:], validation.parts_dba.items(), strict=False):
        axes.plot(moving, levels[-len(moving) :], color=colour, linestyle="--", linewidth=1, label=part)
    for speed, drives in validation.levels_dba.items():
        axes.scatter([speed] * len(drives), drives, color=svg.COLOURS[0], s=9, alpha=0.5, linewidths=0)
    axes.plot(
        SPEEDS_KMH, [float(np.mean(validation.levels_dba[speed])) for speed in SPEEDS_KMH],
        color=svg.COLOURS[0], linewidth=2, label="simulated cabin",
    )  # fmt: skip
    axes.set(xlabel="km/h", ylabel="dB(A)", ylim=(30, 86))
    axes.legend(loc="lower right")
    return svg.document(figure)


def _orders(validation: Validation) -> str:
    shown = [count for count in ENGINES if count in (3, 4, 6)]
    figure, columns = svg.new_figure(7.2, 2.8, len(shown))
    for axes, count in zip(columns, shown, strict=True):
        levels = validation.orders_db[count]
        firing = [order % ENGINES[count] == 0 for order in ORDERS]
        axes.bar(
            ORDERS, np.maximum(levels - 30.0, 0.0), bottom=30.0, width=0.35,
            color=[svg.COLOURS[0] if fires else svg.COLOURS[-1] for fires in firing],
        )  # fmt: skip
        axes.set(title=f"{count} cylinders", xlabel="engine order", xticks=range(0, 9, 2))
    columns[0].set_ylabel("dB SPL")
    return svg.document(figure)


def _steadiness(validation: Validation) -> str:
    figure, (axes,) = svg.new_figure()
    for colour, (kind, levels) in zip(svg.COLOURS, validation.modulations_db.items(), strict=False):
        axes.semilogx(MODULATIONS_HZ, levels, color=colour, marker="o", label=kind)
    axes.set(xlabel="modulation, Hz", ylabel="depth, dB")
    axes.set_xticks(MODULATIONS_HZ, [f"{centre:g}" for centre in MODULATIONS_HZ])
    axes.minorticks_off()
    axes.legend()
    return svg.document(figure)
