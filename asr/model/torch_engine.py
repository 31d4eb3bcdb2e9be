"""The reference engine: one streaming step in torch float32, from a bundle's weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asr.engine import Geometry, State
from asr.features import Mel
from asr.model.acoustic import AcousticModel


class TorchEngine:
    """Runs a model eagerly; see `asr.engine.Engine`."""

    def __init__(self, model: AcousticModel) -> None:
        self._model = model.eval()

    @property
    def geometry(self) -> Geometry:
        return self._model.geometry

    def initial_state(self, n: int) -> State:
        return {name: value.numpy() for name, value in self._model.initial_state(n).items()}

    @torch.inference_mode()
    def step(self, mel: Mel, state: State) -> tuple[npt.NDArray[np.float32], State]:
        tensors: dict[str, Any] = {name: torch.from_numpy(value) for name, value in state.items()}
        log_probs, new = self._model.step(torch.from_numpy(np.ascontiguousarray(mel)), tensors)
        return log_probs.numpy(), {name: value.numpy() for name, value in new.items()}
