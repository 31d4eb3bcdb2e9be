"""The recurrent CTC head: residual recurrent layers, a look-ahead convolution, a linear layer over the tokens.

The look-ahead convolution is the row convolution of Deep Speech 2 (Amodei et al. 2015, section 3.6).
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.model.config import HeadConfig

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentHead(nn.Module):
    """Encoder frames -> natural-log posteriors over the tokens, delayed by `look_ahead_frames`."""

    def __init__(self, config: HeadConfig, input_width: int, n_tokens: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.project = nn.Linear(input_width, width) if input_width != width else nn.Identity()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.layers))
        self.cells = nn.ModuleList(CELLS[config.cell](width, width, batch_first=True) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.taps = nn.Parameter(torch.zeros(config.look_ahead_frames + 1, width))
        nn.init.ones_(self.taps[:1])
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, n_tokens)

    def forward(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """A chunk, or a whole utterance from the initial state.

        Args:
            x: shape (N, U, input width).
            state: see `initial_state`.

        Returns:
            Log-posteriors (N, U, V) of frames ``[-look_ahead_frames, U - look_ahead_frames)`` relative to ``x``,
            and the next state.
        """
        new: dict[str, Tensor] = {}
        x = self.project(x)
        for i, (norm, cell) in enumerate(zip(self.norms, self.cells, strict=True)):
            hidden = state[f"hidden{i}"].transpose(0, 1).contiguous()
            memory = state[f"memory{i}"].transpose(0, 1).contiguous() if self.config.cell == "lstm" else None
            y, hidden, memory = _run(cell, norm(x), hidden, memory)
            if memory is not None:
                new[f"memory{i}"] = memory.transpose(0, 1)
            new[f"hidden{i}"] = hidden.transpose(0, 1)
            x = x + self.dropout(y)
        if self.config.look_ahead_frames:
            x = torch.cat([state["ahead"], x], dim=1)
            new["ahead"] = x[:, -self.config.look_ahead_frames :]
            kernel = self.taps.t().unsqueeze(1)
            x = functional.conv1d(x.transpose(1, 2), kernel, groups=self.config.width).transpose(1, 2)
        logits = self.output(self.norm(x))
        return functional.log_softmax(logits.float(), dim=-1), {name: new[name] for name in state}

    def initial_state(self, n: int) -> dict[str, Tensor]:
        """State of n streams; the first axis of every tensor is the stream."""
        config = self.config
        state: dict[str, Tensor] = {}
        for i in range(config.layers):
            state[f"hidden{i}"] = torch.zeros(n, 1, config.width)
            if config.cell == "lstm":
                state[f"memory{i}"] = torch.zeros(n, 1, config.width)
        if config.look_ahead_frames:
            state["ahead"] = torch.zeros(n, config.look_ahead_frames, config.width)
        return state


def _run(cell: nn.Module, x: Tensor, hidden: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """A recurrent layer over x. On a GPU always in float32: cuDNN's recurrent kernels are what makes it fast there,
    and not every version of them knows bfloat16."""
    with torch.autocast(x.device.type, enabled=False) if x.is_cuda else nullcontext():
        if x.is_cuda:
            x, hidden = x.float(), hidden.float()
            memory = memory.float() if memory is not None else None
        if memory is None:
            y, hidden = cell(x, hidden)
        else:
            y, (hidden, memory) = cell(x, (hidden, memory))
    return y, hidden, memory
