"""One trial in a process of its own: trains, measures, and writes one JSON file, also where it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import time
import traceback
from pathlib import Path
from typing import Any

from asr.config import config_to_json, make_config
from asr.errors import DengarError, TrainingError
from asr.train.config import TrainConfig
from asr.tune.config import EvaluationSet

PLAN = "trial.json"
RESULT = "result.json"


def write_json(path: Path, content: Any) -> None:
    """Writes beside the final place and renames, so that a crash never leaves half of it."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_plan(folder: Path, config: TrainConfig, sets: dict[str, EvaluationSet]) -> None:
    """Writes what a trial is to do; one begun under other settings is refused.

    A plan of an earlier version, which lacks a setting that came since, counts as having its default.

    Raises:
        TrainingError: the folder holds another trial.
    """
    plan = {"config": config_to_json(config), "evaluate": {name: config_to_json(s) for name, s in sets.items()}}
    path = folder / PLAN
    if path.exists() and _with_defaults(path) != json.loads(json.dumps(plan)):
        raise TrainingError(
            f"{folder}: holds a trial of the same name with other settings; give another name or folder, or remove it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def _with_defaults(path: Path) -> dict[str, Any]:
    """A plan as it was written, and settings that it does not name; one that is no configuration stays as it is."""
    plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    try:
        config = config_to_json(make_config(TrainConfig, plan["config"], str(path)))
    except (DengarError, KeyError):
        return plan
    return {**plan, "config": json.loads(json.dumps(config))}


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished or failed trial, or None."""
    path = folder / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def run_trial(folder: Path, cores: tuple[int, ...] = ()) -> None:
    """Runs the plan in ``folder``, or goes on with it, and writes its result; the target of a child process.

    Args:
        folder: of the trial, with a plan.
        cores: processor cores to stay on; empty for any.
    """
    _die_with_parent()
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        result = _run(folder)
    except DengarError as error:
        result = {"error": str(error)}
    except Exception as error:  # one trial's failure must not end the others; the traceback is kept beside it
        (folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        first_line = (str(error).strip().splitlines() or [""])[0]
        result = {"error": f"{type(error).__name__}: {first_line}"}
    write_json(folder / RESULT, result)


def _run(folder: Path) -> dict[str, Any]:
    from asr.train.prepare import augmenter_of, prepare, read_items
    from asr.train.validate import measure, spread, summary

    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    config: TrainConfig = make_config(TrainConfig, plan["config"], str(folder / PLAN))
    started_s = time.process_time()
    trainer = prepare(config, folder).trainer
    config = trainer.config  # with the tokens that it has learned or taken over
    dev = trainer.run()
    cpu_s = time.process_time() - started_s
    heard_s = 0.0
    for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines():
        heard_s += json.loads(line).get("audio_s", 0.0)
    figures: dict[str, Any] = {}
    for name, raw in plan["evaluate"].items():
        wanted: EvaluationSet = make_config(EvaluationSet, raw, f"evaluate.{name}")
        items, _ = read_items(wanted.manifests, config)
        if not items:
            raise TrainingError(f"evaluate.{name}: no utterance can be used")
        augment = None
        if wanted.augment:
            augment = augmenter_of(wanted.augment, seed=0, noise=wanted.noise, snr_db=wanted.snr_db).apply
        measured = measure(trainer.model, spread(items, wanted.utterances), config, trainer.device, augment)
        figures[name] = {**summary(measured).to_json(), "utterances": [dataclasses.asdict(one) for one in measured]}
    return {
        "dev": dev.to_json(),
        "sets": figures,
        "steps": trainer.position.step,
        "audio_h": heard_s / 3600,
        "minutes": trainer.position.elapsed_s / 60,
        "cpu_minutes": cpu_s / 60,
        "unread": len(trainer.problems),
    }


def _die_with_parent() -> None:
    """Linux ends this process when the one that started it ends, however that happens."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # elsewhere an orphan goes on to the end of its trial
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
