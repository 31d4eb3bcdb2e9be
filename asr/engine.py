"""One step of the acoustic model over a batch of streams, without torch.

A step takes a window of log-mel frames for every stream and the streams' state, and returns the log-posteriors
of one chunk and the next state. `Geometry` says how the windows lie on the mel frames; `MelWindows` cuts them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from asr import features
from asr.errors import BundleError
from asr.features import Mel

State = dict[str, npt.NDArray[Any]]

ARITHMETIC = "arithmetic"
"""Metadata of an exported model: how its weights and activations are kept."""

FLOAT = "float32"
PER_ROW = "int8 per row"
PER_BATCH = "int8 per batch"
"""Of activations: with one scale per row a stream's outputs are its own; with one per batch (bundles built before
that was possible, which do not say) loud neighbours coarsen them."""


@dataclass(frozen=True)
class Geometry:
    """How output frames lie on mel frames.

    Output frame ``u`` covers mel frames ``[u * stride, (u + 1) * stride)``; a step emits `chunk_frames` of
    them from a window that also reaches `before` and `after` mel frames beyond.

    Attributes:
        stride: mel frames per output frame.
        before: mel frames of left context in the window.
        after: mel frames of right context in the window.
        chunk_frames: output frames per step.
        delay_frames: the model's output lags its input by so many output frames (look-ahead inside the model).
    """

    stride: int
    before: int
    after: int
    chunk_frames: int
    delay_frames: int

    @property
    def window(self) -> int:
        """Mel frames per step."""
        return self.before + self.chunk_frames * self.stride + self.after

    @property
    def hop(self) -> int:
        """Mel frames by which the window moves between steps."""
        return self.chunk_frames * self.stride

    @property
    def frame_s(self) -> float:
        """Seconds per output frame."""
        return self.stride * features.FRAME_S

    @property
    def look_ahead_s(self) -> float:
        """Worst case of chunk + right context + convolutions + window: how far an output frame sees ahead."""
        chunk_s = (self.chunk_frames + self.delay_frames) * self.frame_s
        return chunk_s + self.after * features.FRAME_S + features.WINDOW_LOOK_AHEAD_S

    def to_json(self) -> dict[str, int]:
        return asdict(self)


class Engine(Protocol):
    """What runs the acoustic model."""

    @property
    def geometry(self) -> Geometry: ...

    @property
    def short_steps(self) -> bool:
        """Whether a step may have fewer frames than a chunk: a window of before + n * stride + after mel frames."""
        ...

    def initial_state(self, n: int) -> State:
        """The state of ``n`` streams that have heard nothing; every array's first axis is the stream."""
        ...

    def step(self, mel: Mel, state: State) -> tuple[npt.NDArray[np.float32], State]:
        """One chunk.

        Args:
            mel: shape (N, geometry.window, n_mels).
            state: of the same N streams.

        Returns:
            Natural-log posteriors of shape (N, chunk_frames, V), and the next state.
        """
        ...


class MelWindows:
    """Cuts one stream's mel frames into the windows of `Geometry` and keeps account of real output frames.

    The signal is preceded by `before` frames of silence and followed by as much silence as fills the last
    chunk, so that a stream and a whole file see the same windows.
    """

    def __init__(self, geometry: Geometry, silence: float, n_mels: int) -> None:
        self._geometry = geometry
        self._silence = silence
        self._pending = np.full((geometry.before, n_mels), silence, dtype=np.float32)
        self._received = 0
        self._stepped = 0

    def missing_frames(self, grain: int | None = None) -> int:
        """How many more mel frames complete the next window, or what `peek` shows with a grain."""
        geometry = self._geometry
        wanted = geometry.window
        if grain:
            wanted = geometry.before + min(geometry.chunk_frames, self._ahead(grain) + grain) * geometry.stride
            wanted += geometry.after
        return wanted - len(self._pending)

    def peek(self, grain: int) -> Mel | None:
        """The beginning of the next window, as far as it is there: a multiple of ``grain`` output frames.

        Returns:
            Shape (before + n * stride + after, n_mels), or None if not even ``grain`` frames are there.
        """
        geometry, frames = self._geometry, self._ahead(grain)
        return self._pending[: geometry.before + frames * geometry.stride + geometry.after] if frames else None

    def _ahead(self, grain: int) -> int:
        geometry = self._geometry
        frames = (len(self._pending) - geometry.before - geometry.after) // geometry.stride
        return max(0, frames // grain * grain)

    def accept(self, mel: Mel) -> list[Mel]:
        """Takes frames of shape (t, n_mels); returns the windows, each (window, n_mels), that are complete."""
        self._received += len(mel)
        self._pending = np.concatenate([self._pending, mel])
        return self._take()

    def finish(self) -> list[Mel]:
        """The windows that remain, filled up with silence."""
        geometry = self._geometry
        wanted = -(-self._received // geometry.stride) + geometry.delay_frames
        steps = max(0, -(-(wanted - self._stepped) // geometry.chunk_frames))
        needed = steps * geometry.hop + geometry.before + geometry.after
        fill = max(0, needed - len(self._pending)) if steps else 0
        self._pending = np.pad(self._pending, ((0, fill), (0, 0)), constant_values=self._silence)
        return self._take()[:steps]

    def real_frames(self, first_frame: int, count: int, *, finished: bool) -> slice:
        """Which of ``count`` output frames from ``first_frame`` of all emitted belong to the signal.

        The first `delay_frames` come from before the start; those after the end exist only once finished.
        """
        delay = self._geometry.delay_frames
        start = min(count, max(0, delay - first_frame))
        if not finished:
            return slice(start, count)
        end = -(-self._received // self._geometry.stride) + delay - first_frame
        return slice(start, max(start, min(count, end)))

    def _take(self) -> list[Mel]:
        geometry = self._geometry
        windows = []
        while len(self._pending) >= geometry.window:
            windows.append(self._pending[: geometry.window])
            self._pending = self._pending[geometry.hop :]
            self._stepped += geometry.chunk_frames
        return windows


class OnnxEngine:
    """Runs an exported model with ONNX Runtime on the CPU.

    Args:
        path: an ``.onnx`` file written by `asr.model.export`, whose metadata holds the geometry and the
            initial state's shapes.
        threads: intra-op threads.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        import json

        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            metadata = self._session.get_modelmeta().custom_metadata_map
            self._geometry = Geometry(**json.loads(metadata["geometry"]))
            self._initial: dict[str, dict[str, Any]] = json.loads(metadata["state"])
            older = {"weights": "int7 per output", "activations": PER_BATCH}
            self._arithmetic: dict[str, str] = json.loads(metadata[ARITHMETIC]) if ARITHMETIC in metadata else older
        except Exception as error:  # onnxruntime has no exception tree of its own to name here
            raise BundleError(
                f"{path}: is not a model exported by Dengar ({error}); export the bundle again"
            ) from error

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    @property
    def arithmetic(self) -> dict[str, str]:
        """How weights and activations are kept: `FLOAT`, `PER_ROW` or `PER_BATCH` for the latter."""
        return dict(self._arithmetic)

    @property
    def independent_streams(self) -> bool:
        """Whether what is heard in a stream is the same alone and in a batch."""
        return self._arithmetic["activations"] != PER_BATCH

    @property
    def short_steps(self) -> bool:
        """Bundles built before that was possible have windows of one length."""
        return not isinstance(self._session.get_inputs()[0].shape[1], int)

    def initial_state(self, n: int) -> State:
        return {
            name: np.zeros((n, *spec["shape"]), dtype=np.dtype(spec["dtype"])) for name, spec in self._initial.items()
        }

    def step(self, mel: Mel, state: State) -> tuple[npt.NDArray[np.float32], State]:
        outputs = self._session.run(None, {"mel": mel, **state})
        return outputs[0], dict(zip(self._initial, outputs[1:], strict=True))
