"""Whisper's audio encoder (Radford et al. 2022) made to stream.

Attention is chunked: a frame sees its own chunk and `left_context_frames` before the chunk, whose keys and
values are cached. Positions run round Whisper's table of 1500, so that a stream may last for ever; training
starts some utterances at random positions so that the model meets the seam. The convolutions see their exact
context through the overlap of the mel windows (`asr.engine.Geometry`).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.errors import ConfigError
from asr.model.config import EncoderConfig

POSITIONS = 1500


class WhisperEncoder(nn.Module):
    """Log-mel windows -> frames of 20 ms; see the module."""

    stride = 2
    before = 2
    after = 1
    positional_embedding: Tensor

    def __init__(self, config: EncoderConfig, n_mels: int) -> None:
        super().__init__()
        if config.stride != self.stride:
            raise ConfigError(f"encoder.stride: whisper needs {self.stride}, found {config.stride}")
        if config.width % config.heads:
            raise ConfigError(f"encoder.width: {config.width} is not a multiple of {config.heads} heads")
        self.width = config.width
        self.left = config.left_context_frames
        self.conv1 = nn.Conv1d(n_mels, config.width, 3)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.ln_post = nn.LayerNorm(config.width)
        self.register_buffer("positional_embedding", sinusoids(POSITIONS, config.width))

    def forward(self, mel: Tensor, chunk_frames: int, start: Tensor) -> Tensor:
        """All chunks at once.

        Args:
            mel: shape (N, before + 2 U + after, n_mels).
            chunk_frames: attention chunk.
            start: position of the first frame, shape (N,).

        Returns:
            Shape (N, U, width).
        """
        x = self._embed(mel, start)
        mask = chunk_mask(x.shape[1], chunk_frames, self.left, x.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.ln_post(x)  # type: ignore[no-any-return]

    def initial_state(self, n: int) -> dict[str, Tensor]:
        cache = {
            f"{kind}{i}": torch.zeros(n, self.left, self.width)
            for i in range(len(self.blocks))
            for kind in ("key", "value")
        }
        return {**cache, "position": torch.zeros(n, dtype=torch.int64), "seen": torch.zeros(n, dtype=torch.int64)}

    def step(self, mel: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One chunk: mel of shape (N, window, n_mels) -> (N, C, width) and the next state."""
        x = self._embed(mel, state["position"])
        n_frames = x.shape[1]
        # Cached frames that were never filled are masked: entry j holds frame j - left of the stream.
        slots = torch.arange(self.left, device=x.device)
        filled = slots[None, :] >= self.left - state["seen"][:, None]
        mask = functional.pad(filled, (0, n_frames), value=True)[:, None, None, :]
        new: dict[str, Tensor] = {}
        for i, module in enumerate(self.blocks):
            block = cast("Block", module)
            x, new[f"key{i}"], new[f"value{i}"] = block.step(x, state[f"key{i}"], state[f"value{i}"], mask)
        new["position"] = (state["position"] + n_frames) % POSITIONS
        new["seen"] = torch.clamp(state["seen"] + n_frames, max=self.left)
        return self.ln_post(x), new

    def _embed(self, mel: Tensor, start: Tensor) -> Tensor:
        x = functional.gelu(self.conv1(mel.transpose(1, 2)))
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        index = (start[:, None] + torch.arange(x.shape[1], device=x.device)) % POSITIONS
        return x + self.positional_embedding[index]


class Block(nn.Module):
    """Whisper's residual attention block, with the names of its published weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        normed = self.attn_ln(x)
        x = x + self.attn(normed, self.attn.key(normed), self.attn.value(normed), mask)
        return x + self.mlp(self.mlp_ln(x))  # type: ignore[no-any-return]

    def step(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One chunk with cached keys and values of shape (N, left, width)."""
        normed = self.attn_ln(x)
        keys = torch.cat([keys, self.attn.key(normed)], dim=1)
        values = torch.cat([values, self.attn.value(normed)], dim=1)
        x = x + self.attn(normed, keys, values, mask)
        n_frames = x.shape[1]
        return x + self.mlp(self.mlp_ln(x)), keys[:, n_frames:], values[:, n_frames:]


class Attention(nn.Module):
    """Multi-head attention; the key has no bias, as in Whisper."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attends from ``x`` (N, U, width) to keys and values (N, K, width) where ``mask`` (..., U, K) is true."""
        query, key, value = (self._split(t) for t in (self.query(x), keys, values))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        n, frames, width = x.shape
        return x.view(n, frames, self.heads, width // self.heads).transpose(1, 2)


def chunk_mask(n_frames: int, chunk_frames: int, left_frames: int, device: torch.device) -> Tensor:
    """True where frame i may see frame j: j in i's chunk, or in the ``left_frames`` before it. Shape (U, U)."""
    frames = torch.arange(n_frames, device=device)
    chunk_start = frames - frames % chunk_frames
    return (frames[None, :] < chunk_start[:, None] + chunk_frames) & (
        frames[None, :] >= chunk_start[:, None] - left_frames
    )


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's positional table, shape (length, width)."""
    steps = torch.arange(width // 2) * (torch.log(torch.tensor(10_000.0)) / (width // 2 - 1))
    angles = torch.arange(length)[:, None] * torch.exp(-steps)[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
