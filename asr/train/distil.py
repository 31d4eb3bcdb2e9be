"""A trained model as the teacher of another: its posteriors at the student's frame rate."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from asr.config import load_config, make_config
from asr.errors import ConfigError
from asr.features import FeatureConfig
from asr.model.acoustic import AcousticModel
from asr.model.config import ModelConfig
from asr.model.pretrained import load_weights
from asr.train import checkpoint
from asr.train.batches import Batch

FLOOR = 1e-6


class Teacher:
    """Says what a trained model hears in a batch, without SpecAugment, in whole utterances at its streaming chunk.

    Args:
        path: run folder or bundle.
        tokens: of the student.
        features: of the student.
        device: where to compute.
        bfloat16: whether matrix products are computed in bfloat16.

    Raises:
        ConfigError: no model there, or one with other tokens or features.
    """

    def __init__(
        self, path: Path, tokens: tuple[str, ...], features: FeatureConfig, device: torch.device, *, bfloat16: bool
    ) -> None:
        config, its_tokens = _read(path)
        if its_tokens != tokens:
            raise ConfigError(
                f"distil.teacher: {path} has other tokens ({len(its_tokens)}) than the student ({len(tokens)})"
            )
        if config.features != features:
            raise ConfigError(f"distil.teacher: {path} hears other features than the student; give both the same")
        self.path, self.stride, self.device, self._bfloat16 = path, config.encoder.stride, device, bfloat16
        self._model = AcousticModel(config, len(tokens))
        load_weights(self._model, path)
        self._model.to(device).eval()

    @torch.no_grad()
    def posteriors(self, batch: Batch, stride: int) -> Tensor:
        """Log-posteriors of shape (N, U, V), one frame for ``stride`` mel frames."""
        if stride % self.stride:
            raise ConfigError(
                f"distil.teacher: {self.path} has a frame for {self.stride} mel frames; the student's stride must be a "
                f"multiple of it, found {stride}"
            )
        lengths = batch.mel_lengths.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            output = self._model(batch.mel.to(self.device), lengths)
        n_frames = -(-batch.mel.shape[1] // stride)
        return pool(output.log_probs.float(), stride // self.stride, n_frames)


def pool(log_probs: Tensor, factor: int, n_frames: int) -> Tensor:
    """Posteriors of ``factor`` frames as those of one: a token that peaks in any of them peaks in it.

    The mean would halve CTC's peaks, which are one frame wide, and teach the student to leave tokens out.

    Args:
        log_probs: shape (N, U, V), index 0 the blank.
        factor: frames to one.
        n_frames: frames to give; what is missing at the end is blank.

    Returns:
        Shape (N, n_frames, V), log-probabilities.
    """
    if factor == 1:
        return log_probs[:, :n_frames]
    n, _, size = log_probs.shape
    tokens = log_probs[:, : n_frames * factor, 1:].exp()
    fill = n_frames * factor - tokens.shape[1]
    tokens = torch.nn.functional.pad(tokens, (0, 0, 0, fill))
    tokens = tokens.view(n, n_frames, factor, size - 1).amax(2)
    blank = (1 - tokens.sum(-1, keepdim=True)).clamp(min=FLOOR)
    both = torch.cat([blank, tokens], dim=-1).clamp(min=FLOOR)
    return (both / both.sum(-1, keepdim=True)).log()


def _read(path: Path) -> tuple[ModelConfig, tuple[str, ...]]:
    """Shape and tokens of a run folder or bundle."""
    if (path / "model.yaml").is_file():
        tokens = json.loads((path / "tokens.json").read_text(encoding="utf-8"))
        return load_config(ModelConfig, path / "model.yaml"), tuple(tokens)
    found = [path / name for name in (checkpoint.FINAL, checkpoint.LAST) if (path / name).is_file()]
    if not found:
        raise ConfigError(f"distil.teacher: {path} is neither a run folder with a checkpoint nor a bundle")
    saved = checkpoint.load(found[0])
    return make_config(ModelConfig, saved["model_config"], str(found[0])), tuple(saved["tokens"])
