"""Figures as SVG files for documents: the same bytes every time, readable on a light and on a dark page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

COLOURS = ("#3b82c4", "#c2571a", "#3c8d5a", "#8b5fbf", "#b08a00", "#6b7280")
"""Of the first, second, ... line of a figure."""

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dengar",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}


def new_figure(width_in: float = 6.4, height_in: float = 3.6, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure with pairs of axes side by side, whose vertical axes are shared; draw within `style`."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    grid: np.ndarray = figure.subplots(1, columns, squeeze=False, sharey=True)
    return figure, list(grid[0])


def style() -> Any:
    """Context in which figures are made and written."""
    return mpl.rc_context(STYLE)


def document(figure: Figure) -> str:
    """The figure as an SVG document on white, without dates or anything else that changes from run to run."""
    file = io.StringIO()
    figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", file.getvalue(), flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
