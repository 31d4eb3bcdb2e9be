"""One process or many: what `torchrun` says, and the few sums that the loop needs."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Process:
    """One process among those that train together."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes."""
        if self.world == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)

    def sum(self, value: float) -> float:
        """Sum of every process's value."""
        if self.world == 1:
            return value
        total = torch.tensor(float(value), device=self.device)
        distributed.all_reduce(total)
        return float(total)

    def mean(self, value: float) -> float:
        return self.sum(value) / self.world

    def all_finite(self, loss: Tensor) -> bool:
        """Whether every process's loss is finite: all take the step or none does."""
        return self.sum(0.0 if bool(torch.isfinite(loss)) else 1.0) == 0

    def agree(self, value: float) -> float:
        """The main process's value, everywhere."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return float(shared)

    def barrier(self) -> None:
        if self.world > 1:
            distributed.barrier()


def current() -> Process:
    """The process as `torchrun` set it up, or alone; uses the GPU of its local rank where there is one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    gpus = torch.cuda.device_count()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % gpus) if gpus else torch.device("cpu")
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if gpus else "gloo")
    return Process(rank, world, device)
