"""The stages of learning names for good; each leaves its result whole in the work folder, or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from asr.bundle import Bundle, build_bundle, extend_bundle
from asr.config import config_to_json
from asr.decode.learned import CLASS_MODEL, NAMES, LearnedNames
from asr.learn.casting import HELD_OUT, TRAIN, cast
from asr.learn.config import LearnConfig, NewName
from asr.learn.data import Composed, compose
from asr.learn.extension import merged, name_contexts, write_extension
from asr.learn.second_listener import open_listener
from asr.learn.spellings import hear_names
from asr.learn.synthesis import counts, speak_all, write_lines
from asr.learn.tuning import Tuned, tune
from asr.synth.generate import usable

SYNTHESIS, EXTENSION, DATA, TRAINING = "synthesis", "extension", "data", "training"
"""Folders of the stages below the work folder."""
DONE = "done.json"

Report = Callable[[str, float], None]
"""Told the stage and how much of it is done, in [0, 1]."""


def silent(_stage: str, _share: float) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Synthesised:
    """The names, spoken.

    Attributes:
        train: manifest to learn from.
        held_out: manifest that tells when to stop, or None.
        utterances: in `train`.
        engines, pronunciations: utterances of both by engine, and by the source of the pronunciation.
        replaced: engines that are not installed, with those that spoke in their place.
        seconds: that the call which finished it took.
    """

    train: Path
    held_out: Path | None
    utterances: int
    engines: dict[str, int]
    pronunciations: dict[str, int]
    replaced: dict[str, str]
    seconds: float


def synthesise(names: Sequence[NewName], config: LearnConfig, work: Path, report: Report = silent) -> Synthesised:
    """Speaks the names in queries; audio that is there already is kept.

    Raises:
        ConfigError, MissingDependencyError: see `asr.learn.casting.cast`.
    """
    folder = work / SYNTHESIS
    found = _read(folder / DONE)
    if found is None:
        started = time.monotonic()
        lines, replaced = cast(names, config.synthesis, config.seed, usable)
        utterances = speak_all(
            lines,
            folder,
            jobs=config.synthesis.jobs,
            format_=config.synthesis.format,
            progress=lambda done, all_: report(SYNTHESIS, done / max(1, all_)),
        )
        paths = write_lines(lines, utterances, folder)
        found = {
            "splits": sorted(paths),
            "utterances": sum(line.split == TRAIN for line in lines),
            "engines": counts(line.engine for line in lines),
            "pronunciations": counts(line.source for line in lines),
            "replaced": replaced,
            "seconds": round(time.monotonic() - started, 2),
        }
        write_whole(folder / DONE, json.dumps(found, indent=1))
    splits = found.pop("splits")
    held_out = folder / f"{HELD_OUT}.jsonl" if HELD_OUT in splits else None
    return Synthesised(train=folder / f"{TRAIN}.jsonl", held_out=held_out, **found)


def extend_lm(
    bundle: Bundle,
    names: Sequence[NewName],
    config: LearnConfig,
    work: Path,
    spoken: Synthesised | None = None,
    report: Report = silent,
) -> LearnedNames:
    """Writes the names' part of the language model, with the names that the bundle knew before.

    Args:
        bundle: the parent.
        names: the new ones.
        config: how.
        work: the folder of the stages.
        spoken: the names, spoken: how the parent hears them gives them further spellings; None for none.
        report: told the share that is heard.
    """
    folder = work / EXTENSION
    if not (folder / DONE).is_file():
        spellings: dict[str, tuple[str, ...]] = {}
        if spoken is not None and config.extension.spellings:
            tell = partial(report, EXTENSION)
            texts = [name.text for name in names]
            most = config.extension.spellings
            spellings = hear_names(bundle, texts, spoken.train, most, config.seed, tell)
        learned = merged(
            bundle.learned_names(), names, config.extension, spellings, name_contexts(config.extension, config.seed)
        )
        write_extension(learned, config.extension, config.seed, folder)
        write_whole(folder / DONE, json.dumps({"names": len(learned.names)}))
    return LearnedNames.load(folder / NAMES)


def fine_tune(
    bundle: Bundle, synthesised: Synthesised, config: LearnConfig, work: Path, report: Report = silent
) -> tuple[Composed, Tuned] | None:
    """Trains the acoustic model from the bundle's weights; None if the configuration asks for no steps.

    Raises:
        ConfigError: replay is asked for and none of its data is there.
        TrainingError: see `asr.learn.tuning.tune`.
    """
    if not config.tune.steps:
        return None
    folder = work / DATA
    found = _read(folder / DONE)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        listener = open_listener(config.second_listener) if config.second_listener else None
        composed = compose(synthesised.train, synthesised.held_out, config, folder, listener)
        content = {**asdict(composed), "train": composed.train.name, "dev": composed.dev.name}
        write_whole(folder / DONE, json.dumps(content, indent=1))
        found = content
    left_out = tuple(found.pop("left_out"))
    composed = Composed(**{**found, "train": folder / found["train"], "dev": folder / found["dev"]}, left_out=left_out)
    return composed, tune(bundle, composed, config, work / TRAINING, lambda share: report(TRAINING, share))


def export(
    bundle: Bundle,
    learned: LearnedNames,
    tuned: Tuned | None,
    about: dict[str, Any],
    work: Path,
    bundles: Path,
    beam_width: int = 0,
) -> Path:
    """Packs the new bundle and returns its folder.

    Args:
        bundle: the parent, whose language model and decoder stay, but for a beam that is too narrow.
        learned: all names, from `extend_lm`.
        tuned: the run whose weights it gets; None keeps the parent's.
        about: how it was made.
        work: the folder of the stages.
        bundles: receives the bundle.
        beam_width: of the new bundle, at least.
    """
    decoder = dataclasses.replace(bundle.decoder, beam_width=max(beam_width, bundle.decoder.beam_width))
    names = (work / EXTENSION / NAMES, work / EXTENSION / CLASS_MODEL)
    if tuned is None:
        return extend_bundle(bundle, bundles, names, about=about, decoder=decoder)
    notice = bundle.path / "NOTICE"
    return build_bundle(
        tuned.folder,
        bundles,
        decoder=decoder,
        unknown=bundle.unknown,
        lm=bundle.lm_path,
        names=names,
        about=about,
        card=_card(bundle, learned),
        notice=notice.read_text(encoding="utf-8") if notice.is_file() else "",
    )


def identity(bundle: Bundle, names: Sequence[NewName], config: LearnConfig) -> dict[str, Any]:
    """What a work folder belongs to."""
    return {
        "bundle": bundle.hash,
        "names": [dataclasses.asdict(name) for name in names],
        "config": config_to_json(config),
    }


def write_whole(path: Path, text: str) -> None:
    """Writes beside the final place, syncs and renames: the file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _card(bundle: Bundle, learned: LearnedNames) -> str:
    names = "\n".join(f"- {name.text}" for name in learned.names)
    return (
        f"# Learned from bundle {bundle.name}\n\nThe same recogniser after it learned names (`dengar learn`): its "
        f"parent's language model and decoder, fine-tuned weights. It has not been measured; `dengar bundle card` "
        f"writes a card from measurements.\n\n{names}\n"
    )
