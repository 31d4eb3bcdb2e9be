"""Weights to start from: Whisper's encoder as published, or a run or bundle of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.model import compact, ctranslate2
from asr.model.acoustic import INTERMEDIATE, AcousticModel

_CONFIG = "model.encoder.pretrained"


def load_whisper_encoder(model: AcousticModel, path: Path) -> None:
    """Fills the encoder with Whisper's weights: ``.npz``, ``.safetensors``, OpenAI's ``.pt`` or a CTranslate2 folder.

    Names may carry a prefix such as ``encoder.``; decoder weights are ignored.

    Raises:
        ConfigError: not such a file, weights missing, or of another shape (another size of Whisper).
    """
    state = model.encoder.state_dict()
    found = {_plain(name): value for name, value in _read(path).items() if "decoder." not in name}
    missing = sorted(set(state) - set(found))
    if missing:
        raise ConfigError(
            f"{_CONFIG}: {path} lacks {missing[0]!r} and {len(missing) - 1} more; is it a Whisper encoder?"
        )
    for name, value in state.items():
        if value.shape != found[name].shape:
            raise ConfigError(
                f"{_CONFIG}: {path}: {name!r} has shape {tuple(found[name].shape)}, the model {tuple(value.shape)}; "
                "set encoder.width, layers and heads to the size of the weights"
            )
    model.encoder.load_state_dict({name: found[name].to(value) for name, value in state.items()})


def load_weights(model: nn.Module, path: Path, parts: tuple[str, ...] = ()) -> None:
    """Fills a model from a run folder, a bundle or a checkpoint file of the same shape.

    The intermediate layer may be missing on either side: it only helps training, and starts afresh.

    Args:
        model: to fill.
        path: where its weights are.
        parts: beginnings of the names of the weights to take; the others keep their values. Empty for all.

    Raises:
        ConfigError: no weights there, of another shape, or a bundle's without the served model that they lean on.
    """
    if path.is_dir():
        candidates = [path / name for name in ("final.pt", "last.pt", "weights.safetensors") if (path / name).exists()]
        if not candidates:
            raise ConfigError(f"init_from: {path} holds neither final.pt, last.pt nor weights.safetensors")
        path = candidates[0]
    weights = _read(path)
    try:
        own = model.state_dict()
        given = {name: value.float() for name, value in weights.items() if not parts or name.startswith(parts)}
        kept = {name: value for name, value in own.items() if name.startswith(INTERMEDIATE)}
        if parts:
            kept |= {name: value for name, value in own.items() if not name.startswith(parts)}
        if INTERMEDIATE + "weight" not in own:
            given = {name: value for name, value in given.items() if not name.startswith(INTERMEDIATE)}
        model.load_state_dict({**kept, **given})
    except RuntimeError as error:
        raise ConfigError(f"init_from: {path} is of another model ({' '.join(str(error).split())[:200]})") from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.is_dir() or path.name == ctranslate2.FILE:
        return {name: torch.from_numpy(value.copy()) for name, value in ctranslate2.whisper_encoder(path).items()}
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays}
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            compacted = compact.load(path)
            if compacted is not None:
                return {name: torch.from_numpy(value) for name, value in compacted.items()}
            return load_file(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: weights cannot be read ({error.strerror or error})") from error
    except Exception as error:  # the readers raise many kinds for a corrupt file
        raise ConfigError(f"{path}: holds no readable weights ({error})") from error
    for key in ("model", "model_state_dict"):
        if isinstance(content.get(key), dict):
            return content[key]  # type: ignore[no-any-return]
    return content


def _plain(name: str) -> str:
    return name.removeprefix("model.").removeprefix("encoder.")
