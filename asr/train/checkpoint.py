"""Checkpoints: whole or not there, and averaged at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.errors import TrainingError

LAST = "last.pt"
FINAL = "final.pt"


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes beside the final place, syncs and renames, so that a crash leaves the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint; raises `TrainingError` if it is missing or corrupt."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: there is no such checkpoint; train first, or name another run") from error
    except Exception as error:  # torch raises many kinds for a corrupt file
        raise TrainingError(f"{path}: is not a readable checkpoint ({error}); delete it to begin again") from error
    return content


def save_step(folder: Path, step: int, weights: dict[str, Tensor], keep: int) -> None:
    """Writes the weights of one evaluation and forgets all but the last ``keep``."""
    save(folder / f"step-{step:07d}.pt", {"model": weights})
    for old in step_files(folder)[:-keep]:
        old.unlink()


def step_files(folder: Path) -> list[Path]:
    """The weights kept from evaluations, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def average(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the checkpoints' floating-point weights; others are the last one's."""
    states = [load(path)["model"] for path in paths]
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[-1].items()
    }
