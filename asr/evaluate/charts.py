"""The report's figures as SVG that stands inside an HTML page and follows its colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from asr.evaluate.evaluation import CalibrationBin, SliceResult

_INK, _TEXT = "#010204", "#010203"  # replaced by the page's accent and text colours
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9.0,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def snr_ladder_svg(rungs: Sequence[SliceResult]) -> str:
    """Word error rate with its interval over the signal-to-noise ratio, in the order given."""
    known = [rung for rung in rungs if rung.wer.value is not None]
    values = [rung.wer.value or 0.0 for rung in known]
    below = [value - _or(rung.wer.low, value) for value, rung in zip(values, known, strict=True)]
    above = [max(_or(rung.wer.high, value) - value, 0.0) for value, rung in zip(values, known, strict=True)]
    with _style("snr"):
        figure = Figure(figsize=(5.2, 2.8), layout="constrained")
        axes = figure.subplots()
        places = range(len(known))
        axes.errorbar(places, values, yerr=[below, above], color=_INK, marker="o", linewidth=2, capsize=4)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{100 * value:.1f}",
                (place, value),
                textcoords="offset points",
                xytext=(6, 6),
                ha="left",
                color=_TEXT,
                fontsize=8,
            )
        axes.set_xticks(list(places), [rung.value for rung in known])
        axes.set(
            ylim=(
                0.0,
                1.12 * max((value + extra for value, extra in zip(values, above, strict=True)), default=1.0) or 1.0,
            ),
            ylabel="word error rate",
            xlabel="signal to noise",
            xlim=(-0.3, len(known) - 0.5),
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="y", alpha=0.25)
        return _inline(figure, "Word error rate over the signal-to-noise ratio")


def reliability_svg(bins: Sequence[CalibrationBin]) -> str:
    """Share of recognised words that are right over their confidence; the diagonal is a perfect confidence."""
    total = sum(bin_.count for bin_ in bins) or 1
    with _style("reliability"):
        figure = Figure(figsize=(3.4, 2.8), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_TEXT, alpha=0.4, linewidth=1, linestyle="--")
        axes.bar(
            [bin_.low + 0.05 for bin_ in bins],
            [bin_.count / total for bin_ in bins],
            width=0.09,
            color=_INK,
            alpha=0.25,
        )
        axes.plot(
            [bin_.confidence for bin_ in bins], [bin_.accuracy for bin_ in bins], color=_INK, marker="o", linewidth=2
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="confidence", ylabel="words right  (bars: share)")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return _inline(figure, "Share of words that are right over their confidence")


def _style(salt: str) -> AbstractContextManager[None]:
    """Settings of one figure; the salt keeps the names within two figures of one page apart."""
    style: AbstractContextManager[None] = mpl.rc_context({**_STYLE, "svg.hashsalt": f"dengar {salt}"})
    return style


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _inline(figure: Figure, label: str) -> str:
    """The figure as one ``<svg>`` element: HTML needs no XML prologue, namespaces or metadata."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<g id=\"[^\"]*\"", "<g", svg)  # nothing refers to groups, and two figures name them alike
    svg = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return svg.replace(_TEXT, "currentColor").replace(_INK, "var(--accent)")
