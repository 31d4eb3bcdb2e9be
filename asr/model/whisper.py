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
QUERY_BLOCK_FRAMES = 144


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
        for block in self.blocks:
            x = block(x, chunk_frames, self.left)
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

    def forward(self, x: Tensor, chunk_frames: int, left_frames: int) -> Tensor:
        x = x + self.attn.chunked(self.attn_ln(x), chunk_frames, left_frames)
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

    def chunked(self, x: Tensor, chunk_frames: int, left_frames: int) -> Tensor:
        """Self-attention of whole utterances (N, U, width): a frame sees its chunk and ``left_frames`` before it.

        Done in blocks of several chunks, so that little of the score matrix is computed only to be masked: on a CPU
        2.5 times as fast as the fused kernel with a (U, U) mask, forward and backward.
        """
        n, n_frames, width = x.shape
        scale = (width // self.heads) ** -0.5
        query, key, value = (
            self._split(t).reshape(n * self.heads, n_frames, -1)
            for t in (self.query(x) * scale, self.key(x), self.value(x))
        )
        block = max(1, QUERY_BLOCK_FRAMES // chunk_frames) * chunk_frames
        attended = []
        for start in range(0, n_frames, block):
            end, first = min(n_frames, start + block), max(0, start - left_frames)
            penalty = chunk_penalty(start, end, first, chunk_frames, left_frames).to(query)
            scores = torch.baddbmm(penalty, query[:, start:end], key[:, first:end].transpose(1, 2))
            attended.append(torch.bmm(scores.softmax(-1).to(value), value[:, first:end]))
        heads = torch.cat(attended, dim=1).view(n, self.heads, n_frames, -1)
        return self.out(heads.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        n, frames, width = x.shape
        return x.view(n, frames, self.heads, width // self.heads).transpose(1, 2)


def chunk_penalty(start: int, end: int, first: int, chunk_frames: int, left_frames: int) -> Tensor:
    """What is added to attention scores of frames [start, end) over frames [first, end): 0 where frame i may see
    frame j (j in i's chunk, or in the ``left_frames`` before it), -1e4 elsewhere. Shape (end - start, end - first).
    """
    seen, frames = torch.arange(first, end), torch.arange(start, end)
    chunk_start = (frames - frames % chunk_frames)[:, None]
    visible = (seen < chunk_start + chunk_frames) & (seen >= chunk_start - left_frames)
    return torch.where(visible, 0.0, -1e4)


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's positional table, shape (length, width)."""
    steps = torch.arange(width // 2) * (torch.log(torch.tensor(10_000.0)) / (width // 2 - 1))
    angles = torch.arange(length)[:, None] * torch.exp(-steps)[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
