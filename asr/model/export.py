"""Exports one streaming step to ONNX, in float and with int8 weights.

The TorchScript-based exporter is used on purpose: it turns recurrent layers into ONNX's LSTM, which ONNX
Runtime has in int8; the newer one unrolls or leaves them in float.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from asr.engine import ARITHMETIC, FLOAT, PER_ROW
from asr.model.acoustic import AcousticModel
from asr.model.quantise import WEIGHT_BITS, quantise

OPSET = 17


class _Step(nn.Module):
    """`AcousticModel.step` with the state as a flat list of tensors."""

    def __init__(self, model: AcousticModel, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, mel: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        log_probs, new = self.model.step(mel, dict(zip(self.names, state, strict=True)))
        return (log_probs, *(new[name] for name in self.names))


def export_onnx(model: AcousticModel, path: Path) -> None:
    """Writes the float model with its geometry and the shapes of its initial state as metadata."""
    model.eval()
    geometry = model.geometry
    state = model.initial_state(2)
    names = list(state)
    mel = torch.full((2, geometry.window, model.config.features.n_mels), model.config.features.silence)
    outputs = ["log_probs", *(f"new.{name}" for name in names)]
    # The exporter announces its own deprecation; see the module for why it is used.
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Step(model, names).eval(),
            (mel, *state.values()),
            str(path),
            input_names=["mel", *names],
            output_names=outputs,
            dynamic_axes={**{name: {0: "streams"} for name in [*names, *outputs]}, "mel": {0: "streams", 1: "frames"}},
            opset_version=OPSET,
            dynamo=False,
        )
    exported = onnx.load(str(path))
    metadata = {
        "geometry": json.dumps(geometry.to_json()),
        ARITHMETIC: json.dumps({"weights": FLOAT, "activations": FLOAT}),
        "state": json.dumps(
            {
                name: {"shape": list(value.shape[1:]), "dtype": str(value.dtype).removeprefix("torch.")}
                for name, value in state.items()
            }
        ),
    }
    onnx.helper.set_model_props(exported, metadata)
    onnx.save(exported, str(path))


def quantise_onnx(source: Path, target: Path, *, weight_bits: int = WEIGHT_BITS) -> None:
    """Writes a copy in int8 whose streams do not depend on each other; see `asr.model.quantise`."""
    model = quantise(onnx.load(str(source)), weight_bits=weight_bits)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    arithmetic = {"weights": f"int{weight_bits} per output", "activations": PER_ROW}
    onnx.helper.set_model_props(model, {**properties, ARITHMETIC: json.dumps(arithmetic)})
    onnx.save(model, str(target))
