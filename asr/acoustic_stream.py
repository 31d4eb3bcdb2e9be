"""One stream before the model: samples become features, features become the windows of the model's steps."""

from __future__ import annotations

from asr.decode.types import LogProbs
from asr.engine import Engine, MelWindows
from asr.features import HOP, FeatureConfig, FeatureStream, Mel
from asr.loudness import Loudness


class AcousticStream:
    """The first half of recognition, samples to log-posteriors, for one stream.

    It keeps what the model's next step needs; `asr.recognize.Recognizer` takes the steps, of many streams together.

    Args:
        engine: of the model.
        config: of its features.
    """

    def __init__(self, engine: Engine, config: FeatureConfig) -> None:
        self.features = FeatureStream(config)
        self.state = engine.initial_state(1)
        self.windows = MelWindows(engine.geometry, config.silence, config.n_mels)
        self.loudness = Loudness()
        self._emitted = 0
        self._finished = False

    def missing_samples(self, grain: int | None = None) -> int:
        """How many more samples complete the model's next window, or the next ``grain`` output frames of it."""
        return (self.windows.missing_frames(grain) - 1) * HOP + self.features.missing_samples

    def cut(self, mel: Mel, *, end: bool) -> list[Mel]:
        """The model's windows that new mel frames (t, n_mels) complete, each (window, n_mels).

        Args:
            mel: the next frames.
            end: the signal is over, and the last windows are filled up with silence.
        """
        self._finished = end
        self.loudness.accept(mel)
        windows = self.windows.accept(mel)
        return windows + self.windows.finish() if end else windows

    def real(self, log_probs: LogProbs) -> LogProbs:
        """Of the next step's output (C, V) the frames that belong to the signal, (c, V)."""
        kept = self.ahead(log_probs)
        self._emitted += len(log_probs)
        return kept

    def ahead(self, log_probs: LogProbs) -> LogProbs:
        """The same of a step that was only a glimpse."""
        return log_probs[self.windows.real_frames(self._emitted, len(log_probs), finished=self._finished)]
