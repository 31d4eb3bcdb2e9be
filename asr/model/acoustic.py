"""The acoustic model: an encoder under the recurrent CTC head, whole utterances or one chunk at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.engine import Geometry
from asr.model.config import ModelConfig
from asr.model.conv import ConvEncoder
from asr.model.head import RecurrentHead
from asr.model.whisper import POSITIONS, WhisperEncoder

ENCODERS: dict[str, type[ConvEncoder] | type[WhisperEncoder]] = {"conv": ConvEncoder, "whisper": WhisperEncoder}


INTERMEDIATE = "intermediate."


class Output(NamedTuple):
    """What whole utterances give.

    Attributes:
        log_probs: natural-log posteriors, shape (N, U, V).
        lengths: true numbers of output frames, shape (N,).
        intermediate: posteriors of the intermediate layer, shape (N, U, V), where the model has one.
    """

    log_probs: Tensor
    lengths: Tensor
    intermediate: Tensor | None


class AcousticModel(nn.Module):
    """Log-mel -> natural-log posteriors over the tokens (index 0 is the CTC blank)."""

    def __init__(self, config: ModelConfig, n_tokens: int) -> None:
        super().__init__()
        self.config = config
        self.n_tokens = n_tokens
        self.encoder = ENCODERS[config.encoder.kind](config.encoder, config.features.n_mels)
        self.head = RecurrentHead(config.head, self.encoder.width, n_tokens)
        self.intermediate = nn.Linear(self.encoder.width, n_tokens) if config.intermediate else None

    @property
    def geometry(self) -> Geometry:
        """How output frames lie on mel frames when streaming."""
        return Geometry(
            stride=self.encoder.stride,
            before=self.encoder.before,
            after=self.encoder.after,
            chunk_frames=self.config.encoder.chunk_frames,
            delay_frames=self.config.head.look_ahead_frames,
        )

    def forward(
        self, mel: Tensor, lengths: Tensor, chunk_frames: int | None = None, start: Tensor | None = None
    ) -> Output:
        """Whole utterances, with the same outputs as `step` over their chunks.

        Args:
            mel: shape (N, T, n_mels), padded with silence.
            lengths: true numbers of mel frames, shape (N,).
            chunk_frames: attention chunk; the configured one if None.
            start: position of the first frame, shape (N,); 0 if None.
        """
        encoder = self.encoder
        chunk_frames = chunk_frames or self.config.encoder.chunk_frames
        delay = self.config.head.look_ahead_frames
        n_frames = -(-mel.shape[1] // encoder.stride) + delay
        n_frames = -(-n_frames // chunk_frames) * chunk_frames
        fill = n_frames * encoder.stride + encoder.after - mel.shape[1]
        mel = functional.pad(mel, (0, 0, encoder.before, fill), value=self.config.features.silence)
        if start is None:
            start = torch.zeros(len(mel), dtype=torch.int64, device=mel.device)
        encoded = encoder(mel, chunk_frames, start)
        state = {name: value.to(encoded) for name, value in self.head.initial_state(len(mel)).items()}
        log_probs, _ = self.head(encoded, state)
        out_lengths = -(-lengths // encoder.stride)
        n_real = -(-(int(mel.shape[1]) - encoder.before - fill) // encoder.stride)
        intermediate = None
        if self.intermediate is not None and self.training:
            intermediate = functional.log_softmax(self.intermediate(encoded[:, :n_real]).float(), dim=-1)
        return Output(log_probs[:, delay : delay + n_real], out_lengths, intermediate)

    def initial_state(self, n: int) -> dict[str, Tensor]:
        """State of n streams that have heard nothing."""
        return {
            **{f"encoder.{name}": value for name, value in self.encoder.initial_state(n).items()},
            **{f"head.{name}": value for name, value in self.head.initial_state(n).items()},
        }

    def step(self, mel: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One chunk of N streams; see `asr.engine.Engine.step`."""
        encoded, encoder_state = self.encoder.step(mel, _part(state, "encoder."))
        log_probs, head_state = self.head(encoded, _part(state, "head."))
        new = {
            **{f"encoder.{name}": value for name, value in encoder_state.items()},
            **{f"head.{name}": value for name, value in head_state.items()},
        }
        return log_probs, {name: new[name] for name in state}


def random_starts(n: int, share: float, generator: torch.Generator) -> Tensor:
    """Positions for training: a random one for a ``share`` of the utterances, 0 for the others. Shape (N,)."""
    starts = torch.randint(POSITIONS, (n,), generator=generator)
    return torch.where(torch.rand(n, generator=generator) < share, starts, 0)


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
