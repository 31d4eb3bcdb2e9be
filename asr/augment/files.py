"""Augmentation into files: a manifest in, audio files and a manifest with every draw out."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr import audio
from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.chain import Augmenter
from asr.corpus.manifest import AudioReader, Manifest, Problem, Utterance, write_manifest
from asr.errors import AudioError, ConfigError

FORMATS = ("flac", "opus", "wav")
MANIFEST_NAME = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Written:
    """What `augment_manifest` did.

    Attributes:
        manifest: path of the new manifest.
        utterances: its lines.
        problems: what was left out, and why.
        duration_s: of the audio written.
        times_real_time: seconds of audio augmented per processor second, without decoding and writing.
    """

    manifest: Path
    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...]
    duration_s: float
    times_real_time: float

    def noises(self) -> dict[str, int]:
        """Number of utterances per kind of noise: none, cabin, babble, file."""
        kinds = (str((utterance.augmentation or {}).get("noise", "none")) for utterance in self.utterances)
        return dict(sorted(Counter(kind.partition(":")[0] for kind in kinds).items()))


def augment_manifest(
    manifest: Manifest,
    augmenter: Augmenter,
    folder: Path,
    *,
    copies: int = 1,
    suffix: str = "flac",
    on_done: Callable[[], None] = lambda: None,
) -> Written:
    """Augments every utterance of `manifest` into `folder` and writes a manifest beside the audio.

    Ids are kept, so that a clean and an augmented set can be compared item by item; with several copies the
    second and later ones get ``#1``, ``#2`` ... and are drawn as further epochs. A file that cannot be read is
    left out and reported, the others are done.

    Args:
        manifest: what to augment.
        augmenter: how.
        folder: where to write; must not be the folder that holds `manifest`.
        copies: versions of each utterance.
        suffix: file format, one of `FORMATS`.
        on_done: called after each utterance.

    Raises:
        ConfigError: the folder or format cannot be used.
        AudioError: not one utterance could be read.
    """
    if suffix not in FORMATS:
        raise ConfigError(f"format {suffix!r} is unknown; known: {', '.join(FORMATS)}")
    if folder.resolve() == manifest.root.resolve():
        raise ConfigError(f"{folder}: holds the manifest to augment; choose another folder, or it would be overwritten")
    reader = AudioReader(manifest.root)
    written: list[Utterance] = []
    problems = list(manifest.problems)
    names = _unique_names(manifest.utterances)
    busy_s = 0.0
    for utterance, name in zip(manifest.utterances, names, strict=True):
        try:
            samples = reader.read(utterance)
        except AudioError as error:
            problems.append(Problem(reader.name(utterance), str(error)))
            on_done()
            continue
        for copy in range(copies):
            begin_s = time.process_time()
            result, draws = augmenter.apply(samples, utterance_key(utterance), copy)
            busy_s += time.process_time() - begin_s
            marker = f"#{copy}" if copy else ""
            path = f"audio/{name}{marker.replace('#', '-')}.{suffix}"
            audio.save(folder / path, result)
            written.append(_augmented(utterance, path, result, draws, marker))
        on_done()
    if not written:
        raise AudioError(f"{manifest.path}: none of its files could be read; first: {problems[0].reason}")
    write_manifest(folder / MANIFEST_NAME, written)
    duration_s = sum(utterance.duration for utterance in written)
    return Written(folder / MANIFEST_NAME, tuple(written), tuple(problems), duration_s, duration_s / max(busy_s, 1e-9))


def utterance_key(utterance: Utterance) -> str:
    """The name from which an utterance's draws are seeded: its id, or where its audio lies."""
    return utterance.id or f"{utterance.shard}:{utterance.audio_filepath}"


def _augmented(utterance: Utterance, path: str, samples: Samples, draws: dict[str, Any], marker: str) -> Utterance:
    return replace(
        utterance,
        id=utterance_key(utterance) + marker,
        audio_filepath=path,
        shard="",
        duration=round(len(samples) / SAMPLE_RATE_HZ, 4),
        augmentation={**draws, "of": utterance.augmentation} if utterance.augmentation else draws,
    )


def _unique_names(utterances: Iterable[Utterance]) -> Iterator[str]:
    """File names made of ids (or paths), safe on any file system, made unique by a number where they collide."""
    seen: Counter[str] = Counter()
    for utterance in utterances:
        plain = utterance.id or str(Path(utterance.audio_filepath).with_suffix(""))
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).strip("._")[-100:] or "utterance"
        seen[name.lower()] += 1
        yield name if seen[name.lower()] == 1 else f"{name}~{seen[name.lower()]}"
