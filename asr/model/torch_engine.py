"""The reference engine: one streaming step in torch float32, from a bundle's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asr.engine import Geometry, State
from asr.features import Mel
from asr.model.acoustic import AcousticModel
from asr.model.config import ModelConfig


class TorchEngine:
    """Runs a model eagerly; see `asr.engine.Engine`."""

    def __init__(self, model: AcousticModel) -> None:
        self._model = model.eval()

    @classmethod
    def open(cls, path: Path, config: ModelConfig, n_tokens: int, *, threads: int | None = None) -> TorchEngine:
        """The engine of a bundle's or run's float weights; ``threads`` is torch's number in this whole process."""
        from asr.model.pretrained import load_weights

        if threads:
            torch.set_num_threads(threads)
        model = AcousticModel(config, n_tokens)
        load_weights(model, path)
        return cls(model)

    @property
    def geometry(self) -> Geometry:
        return self._model.geometry

    @property
    def short_steps(self) -> bool:
        return True

    def initial_state(self, n: int) -> State:
        return {name: value.numpy() for name, value in self._model.initial_state(n).items()}

    @torch.inference_mode()
    def step(self, mel: Mel, state: State) -> tuple[npt.NDArray[np.float32], State]:
        tensors: dict[str, Any] = {name: torch.from_numpy(value) for name, value in state.items()}
        log_probs, new = self._model.step(torch.from_numpy(np.ascontiguousarray(mel)), tensors)
        return log_probs.numpy(), {name: value.numpy() for name, value in new.items()}
