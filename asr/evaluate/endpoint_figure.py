"""One recording as the endpointer sees it, drawn as SVG."""

from __future__ import annotations

import numpy as np

from asr import svg
from asr.endpoint import EndpointConfig, Endpointer
from asr.evaluate.endpoint_traces import Trace
from asr.voice_activity import FRAME_S

_AFTER_S = 1.0
"""Shown after the endpoint."""


def draw(trace: Trace, config: EndpointConfig) -> str:
    """Voice activity, the recogniser's steps and the decision over time.

    Each bar is what the recogniser had heard after one step: speech in it, the silence behind it, and, up to the bar's
    thin end, the look-ahead that the step had to wait for.
    """
    events = Endpointer(config).accept(np.array(trace.probabilities, np.float32), trace.evidence)
    endpoint_s = next((event.time_s for event in events if event.kind == "endpoint"), trace.audio_s)
    shown = [known for known in trace.evidence if known.at_s <= endpoint_s + _AFTER_S]
    with svg.style():
        figure, (axes,) = svg.new_figure(height_in=3.2)
        times = FRAME_S * np.arange(1, len(trace.probabilities) + 1)
        axes.step(times, trace.probabilities, where="pre", color=svg.COLOURS[0], label="probability of a voice")
        axes.axhline(config.voice_on, color=svg.COLOURS[0], linestyle=":", linewidth=0.8)
        axes.axhline(config.voice_off, color=svg.COLOURS[0], linestyle=":", linewidth=0.8)
        for row, known in enumerate(shown):
            level = -0.12 - 0.08 * row
            speech_s = known.speech_s or 0.0
            first = row == 0
            axes.plot(
                [0, speech_s],
                [level] * 2,
                color=svg.COLOURS[2],
                linewidth=4,
                solid_capstyle="butt",
                label="recogniser: words" if first else None,
            )
            axes.plot(
                [speech_s, known.heard_s],
                [level] * 2,
                color=svg.COLOURS[5],
                alpha=0.5,
                linewidth=4,
                solid_capstyle="butt",
                label="recogniser: silence" if first else None,
            )
            axes.plot([known.heard_s, known.at_s], [level] * 2, color=svg.COLOURS[5], linewidth=0.8)
        axes.axvline(trace.end_s, color="black", linewidth=1, label="last word ends")
        axes.axvline(endpoint_s, color=svg.COLOURS[1], linewidth=1.5, label="endpoint")
        axes.set(xlabel="seconds", xlim=(0, endpoint_s + _AFTER_S), ylim=(-0.2 - 0.08 * len(shown), 1.05))
        axes.set_yticks([0, 0.5, 1])
        axes.legend(loc="center left", fontsize=7)
        return svg.document(figure)
