"""Pictures and sounds of one utterance, small enough to stand inside an HTML page.

Matplotlib draws through `Figure` alone, without pyplot and its global state, so any thread may draw.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from matplotlib.figure import Figure

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.features import log_mel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN, _HEIGHT_IN, _DPI = 5.2, 1.5, 90
_ENVELOPE_COLUMNS = 600
INK = "#2f5d8a"


def waveform_png(samples: Samples) -> bytes:
    """Draws amplitude over time.

    Args:
        samples: shape (T,), 16 kHz, in [-1, 1].

    Returns:
        A PNG image.
    """
    figure, axes = new_figure()
    low, high = _envelope(samples)
    times_s = np.linspace(0.0, len(samples) / SAMPLE_RATE_HZ, num=len(low), endpoint=False)
    axes.fill_between(times_s, low, high, color=INK, linewidth=0.4)
    peak = max(float(np.abs(samples).max(initial=0.0)), 0.01)
    axes.set(xlim=(0.0, max(len(samples) / SAMPLE_RATE_HZ, 0.01)), ylim=(-peak, peak), ylabel="amplitude")
    return png(figure)


def log_mel_png(samples: Samples) -> bytes:
    """Draws the log-mel frames that the recogniser sees, low bands at the bottom.

    Args:
        samples: shape (T,), 16 kHz, in [-1, 1].

    Returns:
        A PNG image.
    """
    frames = log_mel(samples)
    figure, axes = new_figure()
    extent = (0.0, max(len(samples) / SAMPLE_RATE_HZ, 0.01), 0.0, float(frames.shape[1]))
    axes.imshow(frames.T, origin="lower", aspect="auto", interpolation="nearest", cmap="magma", extent=extent)
    axes.set(ylabel="mel band", xlabel="seconds")
    return png(figure)


def audio_bytes(samples: Samples) -> bytes:
    """Encodes samples as Ogg/Opus, which every current browser plays."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
    return file.getvalue()


def data_uri(data: bytes, mime: str) -> str:
    """Returns `data` as a ``data:`` address of media type `mime`, for ``src`` attributes."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def audio_data_uri(samples: Samples) -> str:
    """Returns samples of shape (T,) at 16 kHz as a playable ``data:`` address."""
    return data_uri(audio_bytes(samples), "audio/ogg")


def new_figure(width_in: float = _WIDTH_IN, height_in: float = _HEIGHT_IN) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes in the reports' style."""
    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """Renders a figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _envelope(samples: Samples) -> tuple[Samples, Samples]:
    """Lowest and highest sample of each picture column, so that no peak is lost."""
    if not len(samples):
        return np.zeros(1, np.float32), np.zeros(1, np.float32)
    starts = np.unique(np.linspace(0, len(samples), num=_ENVELOPE_COLUMNS, endpoint=False).astype(int))
    return np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
