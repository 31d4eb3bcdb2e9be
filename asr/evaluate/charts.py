"""The report's figures as SVG that stands inside an HTML page and follows its colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from asr.evaluate.evaluation import CalibrationBin, SliceResult

INK = "#3b82c4"
_TEXT = "#010203"  # replaced by the page's text colour
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dengar",
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
    """Word error rate with its interval over the signal-to-noise ratio, from quiet to loud noise."""
    known = [rung for rung in rungs if rung.wer.value is not None]
    values = [rung.wer.value or 0.0 for rung in known]
    below = [value - (rung.wer.low or 0.0) for value, rung in zip(values, known, strict=True)]
    above = [max((rung.wer.high or 0.0) - value, 0.0) for value, rung in zip(values, known, strict=True)]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 2.8), layout="constrained")
        axes = figure.subplots()
        places = range(len(known))
        axes.errorbar(places, values, yerr=[below, above], color=INK, marker="o", linewidth=2, capsize=4)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{100 * value:.1f}",
                (place, value),
                textcoords="offset points",
                xytext=(0, 7),
                ha="center",
                color=_TEXT,
                fontsize=8,
            )
        axes.set_xticks(list(places), [rung.value for rung in known])
        axes.set(
            ylim=(0.0, 1.12 * max(values, default=1.0) or 1.0),
            ylabel="word error rate",
            xlabel="signal to noise",
            xlim=(-0.3, len(known) - 0.5),
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="y", alpha=0.25)
        return _inline(figure)


def reliability_svg(bins: Sequence[CalibrationBin]) -> str:
    """Share of recognised words that are right over their confidence; the diagonal is a perfect confidence."""
    total = sum(bin_.count for bin_ in bins) or 1
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.4, 2.8), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_TEXT, alpha=0.4, linewidth=1, linestyle="--")
        axes.bar(
            [bin_.low + 0.05 for bin_ in bins], [bin_.count / total for bin_ in bins], width=0.09, color=INK, alpha=0.25
        )
        axes.plot(
            [bin_.confidence for bin_ in bins], [bin_.accuracy for bin_ in bins], color=INK, marker="o", linewidth=2
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="confidence", ylabel="words right  (bars: share)")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return _inline(figure)


def _inline(figure: Figure) -> str:
    """The figure as one ``<svg>`` element: HTML needs no XML prologue, namespaces or metadata."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", svg)
    return svg.replace(_TEXT, "currentColor")
