"""Speech for whoever has no corpora: synthetic voice search and recorded prompts, to replay and to judge by."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from asr import audio, debian
from asr.corpus.manifest import Utterance, measured_duration_s, write_manifest
from asr.corpus.text import normalise
from asr.errors import ConfigError
from asr.learn.config import LearnConfig, located
from asr.synth.generate import generate
from asr.synth.recipe import read_recipe
from services.learner.gating import GatingConfig

SOUNDS = "usr/share/asterisk/sounds/en*"
PROMPTS = ("data/prompts.yaml", "data/prompts-words.yaml")
RECIPES = {"voice-search-train": "data/voice-search-train.yaml", "voice-search-dev": "data/voice-search-dev.yaml"}
TRAIN, DEV = 240, 150
"""Utterances that are enough to guard against forgetting, and to judge by."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is there now.

    Attributes:
        manifests: that were made.
        left_out: what could not be, with the reason.
    """

    manifests: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def is_needed(learn: LearnConfig, gate: GatingConfig) -> bool:
    """Whether neither the user's corpora nor the fallback of one of them is there."""
    replay = [*learn.replay.corpora, *learn.replay.fallback]
    replays = learn.tune.steps > 0 and learn.replay.share > 0
    return not gate.sets() or (replays and not any(located(each.manifest).is_file() for each in replay))


def prepare(
    work: Path,
    *,
    train: int = TRAIN,
    dev: int = DEV,
    jobs: int = 2,
    progress: Progress = lambda *_: None,
) -> Prepared:
    """Makes what is not there yet: ``voice-search-train``, ``voice-search-dev`` and ``prompts`` in a folder.

    Args:
        work: the folder.
        train: utterances of the synthetic set to replay in fine-tuning; 0 for none.
        dev: of the one to judge by.
        jobs: processes.
        progress: told what is going on.

    Raises:
        MissingDependencyError: no speech engine of the recipes is installed.
    """
    made, left_out = [], []
    for (name, recipe), count in zip(RECIPES.items(), (train, dev), strict=True):
        manifest = work / name / "manifest.jsonl"
        if count and not manifest.is_file():
            wanted = read_recipe(located(recipe)).scaled(count)
            generate(wanted, work / name, jobs, lambda done, total, name=name: progress(name, done, total))  # type: ignore[misc]
            made.append(manifest)
    manifest = work / "prompts" / "manifest.jsonl"
    if not manifest.is_file():
        rows = _prompts(manifest.parent)
        if rows:
            write_manifest(manifest, rows)
            made.append(manifest)
        else:
            left_out.append("recorded prompts: Debian's asterisk-core-sounds-en-g722 is not installed")
    return Prepared(tuple(made), tuple(left_out))


def _prompts(folder: Path) -> Sequence[Utterance]:
    """Debian's recorded prompts whose words are known, copied to a folder; none if they are not installed."""
    sounds = debian.find(SOUNDS)
    if sounds is None:
        return []
    texts: dict[str, str] = {}
    for path in PROMPTS:
        try:
            texts |= yaml.safe_load(located(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: the texts of the prompts cannot be read ({error})") from error
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = []
    for name, text in texts.items():
        source = sounds / f"{name}.g722"
        if source.is_file():
            target = folder / f"{name.replace('/', '-')}.flac"
            audio.save(target, audio.load(source))
            said = normalise(text)
            rows.append(Utterance(target.name, measured_duration_s(target), said, corpus="prompts", speaker="allison"))
    return rows
