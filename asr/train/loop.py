"""The training loop: deterministic from its seed, resumable after any crash, the same on one process or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from asr.augment.wordless import Wordless
from asr.config import config_to_json, config_to_yaml, make_config
from asr.errors import TrainingError
from asr.model.acoustic import AcousticModel
from asr.model.config import ModelConfig
from asr.train import checkpoint, distributed
from asr.train.batches import Augment, Batch, EndlessBatches, Item, SpeechDataset, collate
from asr.train.config import TrainConfig
from asr.train.distil import Teacher
from asr.train.objective import Objective
from asr.train.tracking import History, Mlflow
from asr.train.validate import Validation, validate

MAX_BAD_STEPS = 20
MIN_GAIN = 1e-4
"""Share of the dev loss by which it must fall to count as better."""


@dataclass(frozen=True)
class Progress:
    """What a display is told after each step, and after each evaluation with `validation` set."""

    step: int
    share: float
    loss: float
    lr: float
    audio_per_s: float
    problems: int
    validation: Validation | None = None


@dataclass
class _Position:
    """Where a run is; saved in every checkpoint."""

    step: int = 0
    epoch: int = 0
    number: int = 0
    elapsed_s: float = 0.0
    best_loss: float = float("inf")
    evaluations_without_gain: int = 0
    finished: bool = False
    mlflow_run: str = ""


class Trainer:
    """One run in one folder.

    Args:
        config: of the run; saved as ``config.yaml`` in the folder.
        folder: of the run; a run found there is continued.
        train: utterances to learn from.
        dev: utterances that steer early stopping.
        augment: applied to training audio only.
        wordless: replaces some of it by noise alone.
        teacher: whose posteriors the model learns too.
        report: told after each step.
        mlflow_uri: where to mirror the figures, or empty.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        train: list[Item],
        dev: list[Item],
        *,
        augment: Augment | None = None,
        wordless: Wordless | None = None,
        teacher: Teacher | None = None,
        report: Callable[[Progress], None] = lambda _: None,
        mlflow_uri: str = "",
    ) -> None:
        self.config, self.folder, self.dev, self.report = config, folder, dev, report
        self.process = distributed.current()
        self.device = self.process.device
        if config.threads and self.device.type == "cpu":
            torch.set_num_threads(config.threads)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.model = AcousticModel(config.model, len(config.tokens)).to(self.device)
        self.optimizer = _optimizer(self.model, config)
        self.position = _Position()
        self._resume_or_start()
        durations = [item.utterance.duration for item in train]
        self.batches = EndlessBatches(
            durations, config.data.batch_s, config.seed, rank=self.process.rank, world=self.process.world
        )
        self._dataset = SpeechDataset(train, config.model.features, augment, wordless)
        self._objective = Objective(config, self.device, teacher)
        self._wrapped: nn.Module = self.process.wrap(self.model)
        self._mlflow: Mlflow | None = None
        if self.process.is_main:
            (folder / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
            self._history = History(folder, self.position.step)
            if mlflow_uri:
                self._mlflow = Mlflow(mlflow_uri, config.name, config_to_json(config), self.position.mlflow_run)
                self.position.mlflow_run = self._mlflow.run_id
        self.problems: set[str] = set()

    def run(self) -> Validation:
        """Trains to the end of the schedule and averages the last checkpoints; returns dev figures of the result.

        Raises:
            TrainingError: the loss is not finite for many steps in a row.
        """
        started = time.monotonic() - self.position.elapsed_s
        bad_steps = 0
        for batch in self.loader():
            if self.position.finished or self._share(started) >= 1:
                break
            step_started = time.monotonic()
            loss = self.step(batch, self._share(started))
            bad_steps = 0 if np.isfinite(loss) else bad_steps + 1
            if bad_steps > MAX_BAD_STEPS:
                raise TrainingError(
                    f"{self.folder}: the loss is not finite for {bad_steps} steps; lower the learning rate"
                )
            position = self.position
            position.step += 1
            position.epoch, position.number = batch.epoch, batch.number + 1
            position.elapsed_s = time.monotonic() - started
            self._tell(batch, loss, time.monotonic() - step_started, started)
            last = self._share(started) >= 1
            if position.step % self.config.evaluate_every == 0 or last:
                self._evaluate(loss, started, last=last)
        return self._finish()

    def loader(self) -> Iterator[Batch]:
        """Batches without end, from where the run is."""
        config = self.config
        self.batches.start_at(self.position.epoch, self.position.number)
        loader: DataLoader[Any] = DataLoader(
            self._dataset,
            batch_sampler=self.batches,
            num_workers=config.data.workers,
            collate_fn=partial(
                collate,
                silence=config.model.features.silence,
                stride=self.model.encoder.stride,
                n_mels=config.model.features.n_mels,
            ),
            prefetch_factor=4 if config.data.workers else None,
        )
        return iter(loader)

    def _share(self, started: float) -> float:
        """How much of the schedule is over, the same in every process."""
        return self.process.agree(self._local_share(started))

    def step(self, batch: Batch, share: float) -> float:
        """Learns from one batch, ``share`` of the schedule being over; returns the loss per utterance."""
        config, optimizer = self.config, self.config.optimizer
        step = self.position.step
        # Every draw of a step comes from the seed and the step alone, so that a resumed run repeats it.
        torch.manual_seed(hash((config.seed, step, self.process.rank)) % 2**63)
        generator = torch.Generator().manual_seed(hash((config.seed, step)) % 2**63)
        frozen = step < optimizer.freeze_encoder_steps
        for name, parameter in self.model.named_parameters():
            still = name.startswith(optimizer.freeze) or (frozen and name.startswith("encoder."))
            parameter.requires_grad_(not still)
        warmup = min(1.0, (step + 1) / optimizer.warmup_steps)
        after_thaw = min(1.0, (step + 1 - optimizer.freeze_encoder_steps) / optimizer.warmup_steps)
        decay = 1 - (1 - optimizer.final_share) * share
        self.optimizer.param_groups[0]["lr"] = optimizer.encoder_lr * max(0.0, after_thaw) * decay
        self.optimizer.param_groups[1]["lr"] = optimizer.lr * warmup * decay
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = self.process.sum(len(batch.texts))
        if not total:
            return float("nan")
        loss = self._objective(self._wrapped, batch, generator) * (self.process.world / total)
        if not self.process.all_finite(loss):
            return float("nan")
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), optimizer.clip_norm)
        self.optimizer.step()
        return self.process.mean(float(loss.detach()))

    def _tell(self, batch: Batch, loss: float, seconds: float, started: float) -> None:
        self.problems.update(batch.problems)
        if not self.process.is_main:
            return
        lr = self.optimizer.param_groups[1]["lr"]
        audio_s = float(batch.mel_lengths.sum()) / 100 * self.process.world
        self._history.write(
            {"step": self.position.step, "epoch": batch.epoch, "loss": loss, "lr": lr, "audio_s": round(audio_s, 2)}
        )
        self.report(
            Progress(self.position.step, self._local_share(started), loss, lr, audio_s / seconds, len(self.problems))
        )

    def _local_share(self, started: float) -> float:
        """The same as this process sees it, in [0, 1]: by steps, or by the clock where that is first."""
        share = self.position.step / self.config.max_steps
        if self.config.max_minutes:
            share = max(share, (time.monotonic() - started) / 60 / self.config.max_minutes)
        return min(1.0, share)

    def _evaluate(self, loss: float, started: float, *, last: bool) -> None:
        position, config = self.position, self.config
        result = validate(self.model, self.dev, config, self.device)
        gained = result.loss < position.best_loss * (1 - MIN_GAIN)
        position.best_loss = result.loss if gained else position.best_loss
        position.evaluations_without_gain = 0 if gained else position.evaluations_without_gain + 1
        position.finished = last or 0 < config.patience <= position.evaluations_without_gain
        position.elapsed_s = time.monotonic() - started
        if not self.process.is_main:
            return
        step = position.step
        self._history.write({"step": step, **result.to_json()})
        if self._mlflow:
            self._mlflow.log({"train_loss": loss, **{f"dev_{k}": v for k, v in result.to_json().items()}}, step)
        checkpoint.save_step(self.folder, step, self.model.state_dict(), config.average)
        checkpoint.save(
            self.folder / checkpoint.LAST,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "position": vars(position),
                "model_config": config_to_json(config.model),
                "tokens": list(config.tokens),
            },
        )
        self.report(Progress(step, self._local_share(started), loss, 0.0, 0.0, len(self.problems), result))

    def _resume_or_start(self) -> None:
        last = self.folder / checkpoint.LAST
        if last.exists():
            saved = checkpoint.load(last)
            if make_config(ModelConfig, saved["model_config"], str(last)) != self.config.model:
                raise TrainingError(f"{self.folder}: holds a run of another model; choose another folder or remove it")
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.position = _Position(**saved["position"])
        elif self.config.init_from:
            from asr.model.pretrained import load_weights

            load_weights(self.model, Path(self.config.init_from), self.config.init_parts)
        elif self.config.model.encoder.pretrained:
            from asr.model.pretrained import load_whisper_encoder

            load_whisper_encoder(self.model, Path(self.config.model.encoder.pretrained))

    def _finish(self) -> Validation:
        """Keeps the average of the last checkpoints, or the last one where the average is no better on dev."""
        last = {name: value.clone() for name, value in self.model.state_dict().items()}
        files = checkpoint.step_files(self.folder)
        result = validate(self.model, self.dev, self.config, self.device)
        if len(files) > 1:
            self.model.load_state_dict(checkpoint.average(files))
            averaged = validate(self.model, self.dev, self.config, self.device)
            if averaged.loss <= result.loss:
                result = averaged
            else:
                self.model.load_state_dict(last)
        if self.process.is_main:
            checkpoint.save(
                self.folder / checkpoint.FINAL,
                {
                    "model": self.model.state_dict(),
                    "model_config": config_to_json(self.config.model),
                    "tokens": list(self.config.tokens),
                    "dev": result.to_json(),
                    "steps": self.position.step,
                    "elapsed_s": self.position.elapsed_s,
                    "problems": sorted(self.problems),
                },
            )
            if self._mlflow:
                self._mlflow.log({f"final_{k}": v for k, v in result.to_json().items()}, self.position.step)
                self._mlflow.finish()
        self.process.barrier()
        return result


def _optimizer(model: AcousticModel, config: TrainConfig) -> torch.optim.AdamW:
    encoder = list(model.encoder.parameters())
    rest = [parameter for name, parameter in model.named_parameters() if not name.startswith("encoder.")]
    return torch.optim.AdamW(
        [{"params": encoder}, {"params": rest}],
        lr=config.optimizer.lr,
        betas=(0.9, 0.98),
        weight_decay=config.optimizer.weight_decay,
    )
