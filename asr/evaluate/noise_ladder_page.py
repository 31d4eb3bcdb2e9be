"""The noise ladder to look at and to listen to: a curve (SVG) and one self-contained HTML page."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from asr import svg
from asr.audio import Samples
from asr.corpus.pictures import audio_data_uri
from asr.evaluate.align import align
from asr.evaluate.empty import Invented
from asr.evaluate.noise_ladder import Condition, NoiseLadder, NoiseRung
from asr.evaluate.results import ScoredUtterance

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording in one condition, to listen to.

    Attributes:
        condition: what it was heard in.
        samples: what was heard, shape (T,) at 16 kHz; None where the audio has gone.
        texts: each model's words.
    """

    condition: Condition
    samples: Samples | None
    texts: tuple[str, ...]


def curve(ladder: NoiseLadder) -> str:
    """Word error rates with intervals over the SNR as an SVG document, one panel for each kind of noise."""
    noises = ladder.noises or ("",)
    with svg.style():
        figure, columns = svg.new_figure(3.4 * len(noises) + 0.6, 3.2, len(noises))
        highest = 0.0
        for axes, noise in zip(columns, noises, strict=True):
            rungs = [rung for rung in ladder.rungs if rung.condition.noise == noise or rung.condition.snr_db is None]
            for index, name in enumerate(ladder.models):
                highest = max(highest, _line(axes, rungs, index, name))
            labels = ["clean" if r.condition.snr_db is None else f"{r.condition.snr_db:g} dB" for r in rungs]
            axes.set_xticks(range(len(rungs)), labels)
            axes.set(title=noise, xlabel="signal to noise", xlim=(-0.3, len(rungs) - 0.7))
        columns[0].set(ylabel="word error rate, %", ylim=(0.0, 1.06 * highest or 1.0))
        columns[0].legend(loc="upper left")
        return svg.document(figure)


def _line(axes: Axes, rungs: Sequence[NoiseRung], index: int, name: str) -> float:
    """Draws one model; returns the highest point."""
    rates = [rung.models[index].wer for rung in rungs]
    edges = [(rate.value or 0.0, rate.low, rate.high) for rate in rates]
    percent = 100.0 * np.array([[value if edge is None else edge for edge in (value, *rest)] for value, *rest in edges])
    axes.errorbar(
        np.arange(len(rungs)) + 0.06 * index,
        percent[:, 0],
        yerr=np.maximum([percent[:, 0] - percent[:, 1], percent[:, 2] - percent[:, 0]], 0.0),
        color=svg.COLOURS[index % len(svg.COLOURS)],
        marker="o",
        linewidth=2,
        capsize=3,
        label=name,
    )
    return float(percent.max(initial=0.0))


def spread(items: Sequence[ScoredUtterance], count: int, longest_s: float = 8.0) -> list[str]:
    """Names of up to `count` recordings of at most `longest_s`, spread evenly over the items."""
    fitting = list(dict.fromkeys(item.item for item in items if item.error is None and item.audio_s <= longest_s))
    count = min(count, len(fitting))
    return [fitting[index * len(fitting) // count] for index in range(count)]


def page(
    ladder: NoiseLadder,
    recordings: Sequence[tuple[str, Sequence[Heard]]],
    empty: Mapping[str, Sequence[Invented]] | None = None,
) -> str:
    """Renders the page.

    Args:
        ladder: what was measured.
        recordings: reference text, and the recording in each condition.
        empty: model -> what it made up where nobody speaks.
    """
    shown = []
    for reference, versions in recordings:
        rows = []
        for version in versions:
            pairs = [alignment.pairs for alignment in align([reference] * len(version.texts), list(version.texts))]
            sound = None if version.samples is None else audio_data_uri(version.samples)
            rows.append({"condition": str(version.condition), "audio": sound, "texts": pairs})
        shown.append({"text": reference, "rows": rows})
    by_sound = list(zip(*(empty or {}).values(), strict=True))
    return _environment().get_template("noise_ladder.html").render(
        ladder=ladder,
        figure=Markup(_inside(curve(ladder))),
        recordings=shown,
        empty_models=list(empty or {}),
        empty=by_sound,
    )  # fmt: skip


def _inside(document: str) -> str:
    """The figure's element alone: HTML needs no XML prologue."""
    return document[document.index("<svg") :]


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}"
    environment.filters["change"] = lambda value: "–" if value is None else f"{100 * value:+.1f}"
    return environment
