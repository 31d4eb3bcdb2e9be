"""Learning names for good: from a served bundle and a list of names to a new bundle that recognises them by itself.

Four stages: the names are spoken in queries by many voices (`synthesise`), the language model gets them as a class
(`extend_lm`), the acoustic model is fine-tuned on them among old data (`fine_tune`), and all is packed (`export`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.bundle import load_bundle
from asr.config import config_to_json
from asr.errors import ConfigError, InputError
from asr.learn.config import LearnConfig, Learned, NewName, load_learn_config
from asr.learn.stages import (
    Report,
    Synthesised,
    export,
    extend_lm,
    fine_tune,
    identity,
    silent,
    synthesise,
    write_whole,
)

__all__ = [
    "LearnConfig",
    "Learned",
    "NewName",
    "Synthesised",
    "export",
    "extend_lm",
    "fine_tune",
    "learn",
    "load_learn_config",
    "synthesise",
]

_JOB, _RESULT = "learn.json", "learned.json"


def learn(
    bundle: Path,
    names: Sequence[NewName],
    config: LearnConfig,
    work: Path,
    bundles: Path,
    on_progress: Report | None = None,
) -> Learned:
    """Makes a bundle that knows the names; called again after an interruption, it goes on where it was.

    Args:
        bundle: the served one, a folder.
        names: to learn, each once.
        config: how.
        work: folder of this job alone; every stage leaves its result there, whole or not at all.
        bundles: receives the new bundle.
        on_progress: told the stage and the share of it that is done.

    Raises:
        ConfigError: the work folder belongs to another job, or a setting that makes no sense here.
        InputError: no name, or one twice.
        MissingDependencyError: a speech engine or the second listener is not installed.
        TrainingError: training cannot go on.
    """
    report = on_progress or silent
    if not names or len({name.text for name in names}) < len(names):
        raise InputError("learning: give at least one name, and each once")
    parent = load_bundle(bundle)
    job = json.loads(json.dumps(identity(parent, names, config)))
    work.mkdir(parents=True, exist_ok=True)
    if (work / _JOB).is_file() and json.loads((work / _JOB).read_text(encoding="utf-8")) != job:
        raise ConfigError(f"{work}: belongs to another bundle, other names or settings; choose another work folder")
    write_whole(work / _JOB, json.dumps(job, indent=1))
    if (found := _finished(work)) is not None:
        return found
    spoken = synthesise(names, config, work, report)
    report("extension", 0.0)
    learned = extend_lm(parent, names, config, work, spoken, report)
    report("extension", 1.0)
    tuned = fine_tune(parent, spoken, config, work, report)
    report("export", 0.0)
    started = time.monotonic()
    composed, run = tuned or (None, None)
    facts: dict[str, Any] = {
        "names": tuple(name.text for name in names),
        "all_names": tuple(name.text for name in learned.names),
        "utterances": spoken.utterances,
        "audio_utterances": composed.audio if composed else 0,
        "replay_utterances": composed.replay if composed else 0,
        "steps": run.steps if run else 0,
        "stopped": run.stopped if run else "not trained",
        "data": composed.data if composed else {},
        "engines": spoken.engines,
        "pronunciations": spoken.pronunciations,
        "left_out": (
            *(f"{engine} is not installed, {other} spoke in its place" for engine, other in spoken.replaced.items()),
            *(composed.left_out if composed else ()),
            *(run.left_out if run else ()),
        ),
    }
    dev = {"dev": run.dev} if run else {}
    about = {**facts, **dev, "parent": parent.hash, "seed": config.seed, "config": config_to_json(config)}
    origin = {"run": f"learn-{parent.name}", **about}
    path = export(parent, learned, run, origin, work, bundles, config.extension.beam_width)
    result = Learned(
        bundle=path,
        synthesis_s=spoken.seconds,
        training_s=run.seconds if run else 0.0,
        export_s=round(time.monotonic() - started, 2),
        **facts,
    )
    write_whole(work / _RESULT, json.dumps({**vars(result), "bundle": str(path.resolve())}, indent=1))
    report("export", 1.0)
    return result


def _finished(work: Path) -> Learned | None:
    """The result of a job that is over, if its bundle is still there."""
    if not (work / _RESULT).is_file():
        return None
    content = json.loads((work / _RESULT).read_text(encoding="utf-8"))
    content["bundle"] = Path(content["bundle"])
    if not content["bundle"].is_dir():
        return None
    lists = ("names", "all_names", "left_out")
    found: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in content.items()}
    return Learned(**found)
