"""Speech held out of a training, to tell variance from mismatch: who stays away, and manifests to measure with.

The held-out part has the same sources as what is trained on, but none of its speakers, as the "training-dev set" of
Ng, "Machine learning yearning", chapter 40. A sample of what is trained on stands beside it. `dengar report` takes
both as rungs of its ladder.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.corpus.manifest import Utterance, write_manifest
from asr.errors import TrainingError
from asr.train.batches import Item
from asr.train.subset import take_hours

HELD_OUT, TRAINED_ON = "held-out.jsonl", "trained-on.jsonl"


@dataclass(frozen=True)
class Division:
    """What is trained on and what is not.

    Attributes:
        manifests: the items of each manifest that are left to train on, in their order.
        held_out: the others, in their order.
        notes: how much is held out, of which corpora nothing is, and how many sentences stand on both sides.
    """

    manifests: list[list[Item]]
    held_out: list[Item]
    notes: tuple[str, ...]


def hold_out(manifests: Sequence[Sequence[Item]], share: float, seed: int) -> Division:
    """Holds out at most a share of the time of each corpus, by whole speakers.

    Speakers are gone through in the order of a hash, and each who still fits is held out; so mostly the same ones stay
    away when the corpus grows, and one who speaks more than the share never does. Where speakers are unknown, every
    recording of a sentence is held out together; the same voice may then stand on both sides.

    Args:
        manifests: usable items of each manifest; a speaker who is in several is held out of all.
        share: of the time of each corpus, above 0 and below 1.
        seed: of the hash.

    Raises:
        TrainingError: nobody speaks little enough to be held out, in any corpus.
    """
    items = [item for part in manifests for item in part]
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for item in items:
        seconds[item.utterance.corpus][_unit(item.utterance)] += item.utterance.duration
    away: set[tuple[str, str]] = set()
    untouched = []
    for corpus, units in sorted(seconds.items()):
        room_s = share * sum(units.values())
        chosen: set[str] = set()
        for unit in sorted(units, key=lambda name: _place(f"{seed}:{corpus}:{name}")):
            if units[unit] <= room_s:
                room_s -= units[unit]
                chosen.add(unit)
        away |= {(corpus, unit) for unit in chosen}
        if not chosen:
            untouched.append(corpus or "(no name)")
    held_out = [item for item in items if _key(item.utterance) in away]
    if not held_out:
        raise TrainingError(
            f"data.held_out_share: nobody speaks as little as {100 * share:g} % of a corpus, so that nobody can be "
            "held out; raise it, or add speakers"
        )
    left = [[item for item in part if _key(item.utterance) not in away] for part in manifests]
    trained = {item.utterance.text for part in left for item in part}
    shared = sum(item.utterance.text in trained for item in held_out)
    minutes = sum(item.utterance.duration for item in held_out) / 60
    speakers = len({(item.utterance.corpus, item.utterance.speaker) for item in held_out if item.utterance.speaker})
    notes = [f"held out of the training: {len(held_out)} utterances, {minutes:.1f} minutes, {speakers} known speakers"]
    if untouched:
        notes.append(f"nobody speaks little enough to be held out in: {', '.join(untouched)}")
    if shared:
        notes.append(f"{shared} of {len(held_out)} held-out utterances have a sentence that is trained on too")
    return Division(left, held_out, tuple(notes))


def write_held_out(folder: Path, train: Sequence[Item], held_out: Sequence[Item], seed: int) -> None:
    """Writes ``held-out.jsonl`` and ``trained-on.jsonl``, an equally long sample of `train`, into the folder.

    Paths of the audio are relative to the folder, and lead to where it lies.
    """
    hours = sum(item.utterance.duration for item in held_out) / 3600
    sample = take_hours(list(train), hours, seed)
    for name, items in ((HELD_OUT, held_out), (TRAINED_ON, sample)):
        write_manifest(folder / name, _rows(folder, items))


def _rows(folder: Path, items: Iterable[Item]) -> list[Utterance]:
    rows = []
    for item in items:
        utterance = item.utterance
        place = os.path.relpath(item.reader.root / (utterance.shard or utterance.audio_filepath), folder)
        rows.append(replace(utterance, shard=place) if utterance.shard else replace(utterance, audio_filepath=place))
    return rows


def _unit(utterance: Utterance) -> str:
    return f"speaker {utterance.speaker}" if utterance.speaker else f"sentence {utterance.text}"


def _key(utterance: Utterance) -> tuple[str, str]:
    return utterance.corpus, _unit(utterance)


def _place(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
