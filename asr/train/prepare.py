"""From a configuration to a `Trainer`: reads the manifests, leaves out what cannot be used and says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.augment.wordless import Wordless
from asr.corpus.manifest import AudioReader, read_manifest
from asr.decode.types import Tokens
from asr.errors import ConfigError, TextError, TrainingError
from asr.train import distributed
from asr.train.batches import Augment, Item
from asr.train.config import TrainConfig
from asr.train.distil import Teacher
from asr.train.held_out import hold_out, write_held_out
from asr.train.loop import Progress, Trainer
from asr.train.subset import hours_by_corpus, mix
from asr.train.subwords import inherited, with_subwords
from asr.train.validate import spread

if TYPE_CHECKING:
    from asr.augment import Augmenter

DATA = "data.json"


@dataclass(frozen=True)
class Prepared:
    """A trainer, what it learns from, and what was left out of its data.

    Attributes:
        notes: what was held out, and what is to be known of it, as sentences.
    """

    trainer: Trainer
    problems: list[str]
    train: list[Item]
    augment: Augment | None
    notes: tuple[str, ...] = ()


def prepare(
    config: TrainConfig, folder: Path, *, report: Callable[[Progress], None] = lambda _: None, mlflow_uri: str = ""
) -> Prepared:
    """Reads the data of ``config`` and makes its trainer; what was left out is also written to ``problems.txt``.

    The folder also gets ``data.json``, the hours of each corpus that are trained on. With ``data.held_out_share`` it
    gets ``held-out.jsonl`` and ``trained-on.jsonl`` (`asr.train.held_out`).

    Raises:
        InputError: a manifest or configuration that cannot be used.
        TrainingError: no utterance is left.
    """
    config = inherited(config, folder)
    parts = [read_items((path,), config) for path in config.data.train]
    usable = [items for items, _ in parts]
    problems = [problem for _, part in parts for problem in part]
    division = None
    if config.data.held_out_share:
        division = hold_out(usable, config.data.held_out_share, config.seed)
        usable = division.manifests
    train = mix(usable, config.data.shares, config.data.train_hours, config.seed)
    dev, dev_problems = read_items(config.data.dev, config)
    problems += dev_problems
    for name, items in (("data.train", train), ("data.dev", dev)):
        if not items:
            raise TrainingError(f"{name}: no utterance is left of {len(problems)}; see {folder / 'problems.txt'}")
    config = with_subwords(config, [item.utterance.text for item in train])
    train, dev = _spelled(train, config), _spelled(dev, config)
    augmenter = _augmenter(config)
    reserved = augmenter.skipped_heldout if augmenter else []
    problems += [f"{name}: noise reserved for testing" for name in reserved]
    trainer = Trainer(
        config,
        folder,
        train,
        spread(dev, config.data.dev_utterances),
        augment=augmenter.apply if augmenter else None,
        wordless=_wordless(config, augmenter),
        teacher=_teacher(config),
        report=report,
        mlflow_uri=mlflow_uri,
    )
    if distributed.current().is_main:
        if division:
            write_held_out(folder, train, division.held_out, config.seed)
        hours = {corpus: round(value, 4) for corpus, value in hours_by_corpus(train).items()}
        (folder / DATA).write_text(json.dumps({"hours": hours}, indent=1) + "\n", encoding="utf-8")
    (folder / "problems.txt").write_text("".join(line + "\n" for line in problems), encoding="utf-8")
    notes = division.notes if division else ()
    return Prepared(trainer, problems, train, augmenter.apply if augmenter else None, notes)


def read_items(manifests: Sequence[str], config: TrainConfig) -> tuple[list[Item], list[str]]:
    """Utterances of the manifests whose text the tokens spell and whose length is within bounds."""
    tokens = Tokens(config.tokens)
    items: list[Item] = []
    problems: list[str] = []
    for path in manifests:
        manifest = read_manifest(path)
        reader = AudioReader(manifest.root)
        problems += [f"{problem.where}: {problem.reason}" for problem in manifest.problems]
        for utterance in manifest.utterances:
            name = reader.name(utterance)
            try:
                target = tuple(tokens.encode(utterance.text))
            except TextError as error:
                problems.append(f"{name}: {error}; run dengar data ingest first")
                continue
            if not target:
                problems.append(f"{name}: has no text")
            elif utterance.duration > config.data.max_s:
                problems.append(f"{name}: {utterance.duration:.1f} s is longer than max_s = {config.data.max_s:g}")
            else:
                items.append(Item(reader, utterance, target))
    return items, problems


def _spelled(items: Sequence[Item], config: TrainConfig) -> list[Item]:
    """The same utterances in the tokens of the configuration."""
    tokens = Tokens(config.tokens)
    return [replace(item, target=tuple(tokens.encode(item.utterance.text))) for item in items]


def _teacher(config: TrainConfig) -> Teacher | None:
    if config.distil is None:
        return None
    bfloat16 = config.precision == "bfloat16"
    device = distributed.current().device
    return Teacher(Path(config.distil.teacher), config.tokens, config.model.features, device, bfloat16=bfloat16)


def _augmenter(config: TrainConfig) -> Augmenter | None:
    data = config.data
    return augmenter_of(data.augment, config.seed, data.noise, data.rooms) if data.augment else None


def _wordless(config: TrainConfig, augmenter: Augmenter | None) -> Wordless | None:
    if not config.data.wordless:
        return None
    if augmenter is None or not augmenter.config.noise.probability:
        raise ConfigError("data.wordless: needs data.augment with noise, which is what is heard instead of words")
    return Wordless(config.data.wordless, augmenter.noise, config.seed)


def augmenter_of(path: str, seed: int, noise: str = "", rooms: str = "", snr_db: float | None = None) -> Augmenter:
    """The augmentation of a YAML file, with its own SNR or a given one."""
    from asr.augment import AugmentConfig, Augmenter
    from asr.config import load_config

    overrides = () if snr_db is None else (f"noise.snr_db={snr_db}",)
    return Augmenter(load_config(AugmentConfig, path, overrides), seed, noise or None, rooms or None)
