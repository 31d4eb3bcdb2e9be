"""Fine-tuning of the served bundle's acoustic model, by `asr.train` and its one loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.bundle import Bundle
from asr.config import make_config
from asr.learn.config import LearnConfig, located
from asr.learn.data import MAX_S, NAMES_CORPUS, Composed
from asr.train import checkpoint
from asr.train.config import DataConfig, DistilConfig, OptimizerConfig, SpecAugmentConfig, TrainConfig
from asr.train.loop import Progress
from asr.train.prepare import prepare

RESERVED = "noise reserved for testing"


@dataclass(frozen=True)
class Tuned:
    """A run that is over.

    Attributes:
        folder: the run's, with ``final.pt``.
        steps: taken.
        stopped: "steps", "clock" or "no gain".
        seconds: that training took, by the clock, interruptions not counted.
        dev: loss and greedy error rates on the held-out names and old data.
        left_out: utterances that could not be used, with the reasons.
    """

    folder: Path
    steps: int
    stopped: str
    seconds: float
    dev: dict[str, float]
    left_out: tuple[str, ...]


def train_config(bundle: Bundle, composed: Composed, config: LearnConfig) -> TrainConfig:
    """The run that learns `composed` from where `bundle` is."""
    tune = config.tune
    augment = str(located(tune.augment)) if tune.augment else ""
    folders = {key: path for key in ("noise", "rooms") if (path := getattr(tune, key)) and located(path).is_dir()}
    teacher = DistilConfig(str(bundle.path), weight=tune.teacher_weight, untaught=(NAMES_CORPUS,))
    return make_config(
        TrainConfig,
        {
            "name": f"learn-{bundle.name}",
            "seed": config.seed,
            "data": DataConfig(
                train=(str(composed.train),),
                dev=(str(composed.dev),),
                augment=augment,
                noise=folders.get("noise", ""),
                rooms=folders.get("rooms", ""),
                wordless=tune.wordless if augment else 0.0,
                batch_s=tune.batch_s,
                max_s=MAX_S,
                dev_utterances=10_000,
                workers=tune.workers,
            ),
            "model": bundle.model,
            "tokens": bundle.tokens.symbols,
            "optimizer": OptimizerConfig(
                lr=tune.lr,
                encoder_lr=tune.encoder_lr,
                warmup_steps=tune.warmup_steps,
                final_share=0.01,
                freeze=tune.freeze,
            ),
            "spec_augment": SpecAugmentConfig(
                time_masks=1, time_share=0.05, time_frames=25, frequency_masks=1, frequency_bands=10
            ),
            "max_steps": tune.steps,
            "max_minutes": tune.max_minutes,
            "evaluate_every": tune.evaluate_every,
            "patience": tune.patience,
            "average": tune.average,
            "init_from": str(bundle.path),
            "distil": teacher if tune.teacher_weight and config.replay.share else None,
            "precision": tune.precision,
            "threads": tune.threads,
        },
        "learn",
    )


def tune(
    bundle: Bundle,
    composed: Composed,
    config: LearnConfig,
    folder: Path,
    report: Callable[[float], None] = lambda _: None,
) -> Tuned:
    """Trains in `folder`, or goes on with what was begun there; a run that is over is left as it is.

    Raises:
        TrainingError: no utterance is left, or the loss is not finite.
    """
    final = folder / checkpoint.FINAL
    settings = train_config(bundle, composed, config)
    problems: list[str] = []
    if not final.is_file():
        folder.mkdir(parents=True, exist_ok=True)

        def tell(progress: Progress) -> None:
            report(progress.share)

        prepared = prepare(settings, folder, report=tell)
        prepared.trainer.run()
        problems = _counted(prepared.problems)
    saved = checkpoint.load(final)
    position = checkpoint.load(folder / checkpoint.LAST)["position"]
    steps = int(saved["steps"])
    stopped = "steps" if steps >= settings.max_steps else "clock"
    if steps < settings.max_steps and 0 < settings.patience <= position["evaluations_without_gain"]:
        stopped = "no gain"
    return Tuned(
        folder, steps, stopped, float(saved["elapsed_s"]), saved["dev"], (*problems, *saved.get("problems", ()))
    )


def _counted(problems: Sequence[str]) -> list[str]:
    """Problems one by one, but one line for all noise that is kept for testing."""
    reserved = [problem for problem in problems if problem.endswith(RESERVED)]
    rest = [problem for problem in problems if not problem.endswith(RESERVED)]
    return [*rest, *([f"{len(reserved)} files of noise: {RESERVED}"] if reserved else [])]
