"""What is learned from: the names' utterances, real recordings with consent, and old data in the right share."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.corpus.manifest import AudioReader, Manifest, Utterance, read_manifest, write_manifest
from asr.errors import ConfigError, InputError
from asr.learn.config import LearnConfig, ReplayConfig, ReplaySource, located
from asr.learn.second_listener import SecondListener, propose
from asr.train.batches import Item
from asr.train.subset import take_hours
from asr.train.validate import spread

NAMES_CORPUS = "names"
"""The corpus of what the teacher cannot know: synthesised names and recordings of them."""
MAX_S = 17.0
CONSENT = "audio"
"""The consent that a recording needs."""


@dataclass(frozen=True)
class Composed:
    """Manifests for `asr.train`, and what is in them.

    Attributes:
        train, dev: manifests with absolute paths.
        names, audio, replay: different utterances of each kind in `train`.
        data: the replayed manifests with their kind; those that are not there as "not there".
        left_out: what could not be used, with the reasons.
    """

    train: Path
    dev: Path
    names: int
    audio: int
    replay: int
    data: dict[str, str]
    left_out: tuple[str, ...]


def compose(
    spoken: Path, held_out: Path | None, config: LearnConfig, folder: Path, listener: SecondListener | None = None
) -> Composed:
    """Writes the manifests of one pass over ``steps * batch_s`` seconds.

    The names' utterances are few, so they are repeated, each time with an identity of its own: augmentation makes
    another of every one. Old data is drawn without repetition as far as it goes.

    Args:
        spoken: manifest of the names' utterances.
        held_out: of those that tell when to stop, if there are any.
        config: shares, and the lists of manifests.
        folder: receives ``train.jsonl`` and ``dev.jsonl``.
        listener: transcribes recordings that have no transcript; None leaves them out.

    Raises:
        ConfigError: replay is asked for and none of its manifests is there, or there is nothing to tell when to stop.
    """
    total_s = config.tune.steps * config.tune.batch_s
    left_out: list[str] = []
    names = _absolute(read_manifest(spoken), corpus=NAMES_CORPUS)
    audio = _recordings(config, folder, listener, left_out)
    replay, data = _replay(config.replay, total_s * config.replay.share, config.seed, left_out)
    learned = _filled([*names, *audio], total_s * (1 - config.replay.share))
    write_manifest(folder / "train.jsonl", [*learned, *replay])
    dev = _absolute(read_manifest(held_out), corpus=NAMES_CORPUS) if held_out else []
    dev += _dev(config.replay, data)
    if not dev:
        raise ConfigError("learning: nothing tells when to stop; set synthesis.held_out_per_name or replay.dev")
    write_manifest(folder / "dev.jsonl", dev)
    different = len({row.audio_filepath + row.shard for row in replay})
    return Composed(
        folder / "train.jsonl", folder / "dev.jsonl", len(names), len(audio), different, data, tuple(left_out)
    )


def _recordings(
    config: LearnConfig, folder: Path, listener: SecondListener | None, left_out: list[str]
) -> list[Utterance]:
    """Real recordings that may be learned from; those without a transcript as the second listener hears them."""
    found: list[Utterance] = []
    for number, path in enumerate(config.audio):
        manifest = read_manifest(located(path))
        allowed = [row for row in manifest.utterances if row.consent == CONSENT]
        if refused := len(manifest.utterances) - len(allowed):
            left_out.append(f"{path}: {refused} without consent to use the audio")
        silent = [row for row in allowed if not row.text]
        if silent and listener:
            proposed, problems = propose(dataclasses.replace(manifest, utterances=tuple(silent)), listener)
            left_out += problems
            write_manifest(folder / f"second-listener-{number}.jsonl", proposed)
            allowed = [row for row in allowed if row.text] + proposed
        elif silent:
            left_out.append(f"{path}: {len(silent)} without a transcript and no second listener to give one")
            allowed = [row for row in allowed if row.text]
        found += _absolute(dataclasses.replace(manifest, utterances=tuple(allowed)), corpus=NAMES_CORPUS)
    return found


def _replay(
    config: ReplayConfig, wanted_s: float, seed: int, left_out: list[str]
) -> tuple[list[Utterance], dict[str, str]]:
    """Old data of about `wanted_s`, each source with its share of it."""
    if not wanted_s:
        return [], {}
    there, data = _there(config.corpora), {}
    for source in config.corpora:
        data[source.manifest] = source.kind if source in there else "not there"
    if not there:
        there = _there(config.fallback)
        data |= {s.manifest: s.kind if s in there else "not there" for s in config.fallback}
    if not there:
        names = ", ".join(source.manifest for source in (*config.corpora, *config.fallback)) or "none is named"
        raise ConfigError(
            f"replay: no old data is there ({names}); name a manifest in replay.corpora, make the synthetic one with "
            "dengar data synth data/voice-search-train.yaml -o work/voice-search-train, or set replay.share to 0"
        )
    total = sum(source.share for source in there)
    found: list[Utterance] = []
    for source in there:
        manifest = read_manifest(located(source.manifest))
        left_out += [f"{problem.where}: {problem.reason}" for problem in manifest.problems]
        rows = [row for row in _absolute(manifest) if row.text and row.duration <= MAX_S]
        if not rows:
            raise InputError(f"{source.manifest}: holds no utterance with a transcript of at most {MAX_S:g} s")
        share_s = wanted_s * source.share / total
        reader = AudioReader(manifest.root)
        chosen = take_hours([Item(reader, row, ()) for row in rows], share_s / 3600, seed)
        found += _filled([item.utterance for item in chosen], share_s)
    return found, data


def _there(sources: Sequence[ReplaySource]) -> list[ReplaySource]:
    return [source for source in sources if located(source.manifest).is_file()]


def _dev(config: ReplayConfig, data: dict[str, str]) -> list[Utterance]:
    """Old data that tells when to stop: of the first manifest that is there."""
    for path in config.dev if config.dev_utterances else ():
        if located(path).is_file():
            manifest = read_manifest(located(path))
            data[path] = "dev"
            reader = AudioReader(manifest.root)
            items = [Item(reader, row, ()) for row in _absolute(manifest) if row.text and row.duration <= MAX_S]
            return [item.utterance for item in spread(items, config.dev_utterances)][: config.dev_utterances]
    return []


def _absolute(manifest: Manifest, corpus: str = "") -> list[Utterance]:
    """Rows whose paths hold wherever the manifest lies."""
    root = manifest.root.resolve()
    rows = []
    for row in manifest.utterances:
        inside = row.audio_filepath if row.shard else str(root / row.audio_filepath)
        shard = str(root / row.shard) if row.shard else ""
        rows.append(dataclasses.replace(row, audio_filepath=inside, shard=shard, corpus=corpus or row.corpus))
    return rows


def _filled(rows: Sequence[Utterance], wanted_s: float) -> list[Utterance]:
    """The rows, repeated until they last as long as is wanted; a repetition has an identity of its own."""
    found: list[Utterance] = []
    length_s = 0.0
    for turn in itertools.count():
        for row in rows:
            if length_s >= wanted_s and turn:
                return found
            name = row.id or f"{row.shard}:{row.audio_filepath}"
            found.append(dataclasses.replace(row, id=f"{name}#{turn}" if turn else name))
            length_s += row.duration
        if not rows or length_s >= wanted_s:
            return found
    return found
