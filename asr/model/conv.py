"""The front end that is learned from scratch: one strided convolution that stacks mel frames."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from asr.model.config import EncoderConfig


class ConvEncoder(nn.Module):
    """Log-mel windows -> frames of ``stride * 10`` ms; has no state of its own.

    A frame sees its own ``stride`` mel frames, as many before and two after.
    """

    after = 2

    def __init__(self, config: EncoderConfig, n_mels: int) -> None:
        super().__init__()
        self.stride = config.stride
        self.before = config.stride
        self.width = config.width
        self.conv = nn.Conv1d(n_mels, config.width, self.before + config.stride + self.after, stride=config.stride)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, mel: Tensor, chunk_frames: int, start: Tensor) -> Tensor:  # noqa: ARG002 the encoders' interface
        """All frames at once: (N, before + stride * U + after, n_mels) -> (N, U, width)."""
        return self.norm(functional.gelu(self.conv(mel.transpose(1, 2))).transpose(1, 2))  # type: ignore[no-any-return]

    def initial_state(self, n: int) -> dict[str, Tensor]:  # noqa: ARG002
        return {}

    def step(self, mel: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One chunk."""
        return self.norm(functional.gelu(self.conv(mel.transpose(1, 2))).transpose(1, 2)), state
