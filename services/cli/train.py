"""`dengar train`: from a YAML configuration to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.train.loop import Progress
    from asr.train.validate import Validation


def train(
    config: Annotated[Path, typer.Argument(help="YAML of the run, for example experiments/demo.yaml.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder; a run found there is continued. Default: work/runs/NAME."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override, as in --set optimizer.lr=0.001; may be repeated.")
    ] = None,
    mlflow: Annotated[
        str, typer.Option(help="MLflow tracking URI; '' switches tracking off.")
    ] = "sqlite:///work/mlflow.db",
    json_: Annotated[bool, typer.Option("--json", help="Print the final figures as one JSON object.")] = False,
) -> None:
    """Trains a model, or continues a run that was interrupted.

    Many processes or GPUs: torchrun --nproc-per-node 2 -m services.cli.main train CONFIG

    Example: dengar train experiments/demo.yaml -o work/runs/demo
    """
    from asr.config import load_config
    from asr.train.config import TrainConfig
    from asr.train.prepare import prepare

    settings = load_config(TrainConfig, config, tuple(set_ or ()))
    folder = out or Path("work/runs") / settings.name
    if mlflow.startswith("sqlite:///"):
        Path(mlflow.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    with TrainingDisplay(settings.name) as display:
        prepared = prepare(settings, folder, report=display.update, mlflow_uri=mlflow)
        for problem in prepared.problems[:10]:
            output.warn(f"left out: {problem}")
        if len(prepared.problems) > 10:
            output.warn(f"left out: {len(prepared.problems) - 10} more, see {folder / 'problems.txt'}")
        for note in prepared.notes:
            output.messages.print(note, highlight=False, soft_wrap=True, markup=False)
        result = prepared.trainer.run()
    unread = sorted(prepared.trainer.problems)
    if unread:
        output.warn(f"{len(unread)} utterances could not be used, the first: {unread[0]}")
    if json_:
        output.emit_json(
            {"run": str(folder), **result.to_json(), "steps": prepared.trainer.position.step, "unread": len(unread)}
        )
    else:
        output.console.print(
            f"{folder}: dev WER {result.wer:.1%}, CER {result.cer:.1%} (greedy, without language model)"
        )


class TrainingDisplay:
    """A live line on a terminal, and a line per evaluation everywhere."""

    def __init__(self, name: str) -> None:
        self._progress = output.progress()
        self._task = self._progress.add_task(name, total=1000)

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, progress: Progress) -> None:
        """Shows one step; see `asr.train.loop.Progress`."""
        if progress.validation:
            self._print(progress, progress.validation)
            return
        text = f"step {progress.step}  loss {progress.loss:.3f}  {progress.audio_per_s:.0f} s of audio/s"
        self._progress.update(self._task, completed=int(progress.share * 1000), description=text)

    def _print(self, progress: Progress, dev: Validation) -> None:
        unread = f", {progress.problems} utterances unread" if progress.problems else ""
        self._progress.console.print(
            f"step {progress.step:>6}  train loss {progress.loss:.3f}  dev loss {dev.loss:.3f}  "
            f"WER {dev.wer:.1%}  CER {dev.cer:.1%}{unread}",
            highlight=False,
        )
