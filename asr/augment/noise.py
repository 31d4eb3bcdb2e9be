"""The noise bank: synthetic cabins, the user's noise files and other voices, each a loop from which pieces are cut."""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from asr import audio
from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment import cabin, events, loops
from asr.augment.config import DATA, CabinConfig, NoiseConfig
from asr.augment.seeding import generator
from asr.errors import ConfigError

HELDOUT_LIST = DATA / "noise-heldout.yaml"
AUDIO_SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a", ".webm")
LONGEST_FILE_S = 300.0
"""Of a longer noise file only the first part is used."""

CACHED_S = 3600.0
"""Decoded noise kept in memory: 230 MB."""

_BABBLE_CLIPS = 16


def heldout_patterns(path: Path = HELDOUT_LIST) -> tuple[str, ...]:
    """The globs, on file names without suffix, of noise reserved for testing."""
    try:
        patterns = yaml.safe_load(path.read_text(encoding="utf-8"))["heldout"]
        return tuple(str(pattern) for pattern in patterns)
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: must hold a list of file name patterns under the key 'heldout'") from error


class NoiseFiles:
    """The noise recordings in a folder, with those reserved for testing kept apart.

    Attributes:
        paths: the files in use, sorted by name.
        skipped_heldout: names of files left out because they are reserved for testing.
        skipped_other: names of files left out because they are not.
    """

    def __init__(self, folder: str | Path, config: NoiseConfig) -> None:
        folder = Path(folder)
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        if not found:
            raise ConfigError(f"{folder}: holds no noise files ({', '.join(AUDIO_SUFFIXES)})")
        patterns = heldout_patterns()
        if config.files:
            found = [path for path in found if _matches(path, config.files)]
            if not found:
                raise ConfigError(f"{folder}: no noise file matches {', '.join(config.files)}")
        reserved = {path for path in found if _matches(path, patterns)}
        keep_reserved, keep_others = config.heldout != "exclude", config.heldout != "only"
        self.paths = [path for path in found if (keep_reserved if path in reserved else keep_others)]
        self.skipped_heldout = [path.name for path in found if path in reserved and not keep_reserved]
        self.skipped_other = [path.name for path in found if path not in reserved and not keep_others]
        if not self.paths:
            which = "reserved for testing" if config.heldout == "exclude" else "not reserved for testing"
            raise ConfigError(
                f"{folder}: all {len(found)} noise files are {which} (data/noise-heldout.yaml); "
                "add others or set noise.heldout"
            )
        self._cache: OrderedDict[Path, Samples] = OrderedDict()

    def load(self, index: int) -> Samples:
        """File `index` as a loop, from memory when it was used lately; raises `AudioError`."""
        path = self.paths[index]
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        samples = audio.load(path)[: int(LONGEST_FILE_S * SAMPLE_RATE_HZ)]
        self._cache[path] = loops.closed(samples)
        while len(self._cache) > 1 and sum(map(len, self._cache.values())) > CACHED_S * SAMPLE_RATE_HZ:
            self._cache.popitem(last=False)
        return self._cache[path]


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.stem.lower(), pattern.lower()) for pattern in patterns)


class CabinBank:
    """Cabin clips, each made from its own seed when first asked for and then kept in memory."""

    def __init__(self, config: CabinConfig, *seed: int | str) -> None:
        self.config, self.seed = config, seed
        self._clips: dict[int, tuple[Samples, dict[str, Any]]] = {}

    def clip(self, index: int) -> tuple[Samples, dict[str, Any]]:
        """Clip `index` (below `config.clips`) as a loop of shape (clip_s * 16000,), and its drive."""
        if index not in self._clips:
            rng = generator(*self.seed, "cabin clip", index)
            drive = cabin.draw_drive(rng, self.config)
            sound = cabin.render(drive, rng, int(self.config.clip_s * SAMPLE_RATE_HZ))
            self._clips[index] = sound, drive.describe()
        return self._clips[index]


class BabbleBank:
    """Clips of several voices talking at once, synthetic, made when first asked for."""

    def __init__(self, clip_s: float, *seed: int | str) -> None:
        self.length, self.seed = int(clip_s * SAMPLE_RATE_HZ), seed
        self._clips: dict[int, tuple[Samples, int]] = {}

    def clip(self, index: int) -> tuple[Samples, int]:
        """Clip `index` as a loop, and its number of voices."""
        if index not in self._clips:
            rng = generator(*self.seed, "babble clip", index)
            voices = int(rng.integers(2, 7))
            sound = events.babble(voices, rng, self.length)
            self._clips[index] = sound * np.float32(0.1 / np.sqrt(np.mean(sound**2))), voices
        return self._clips[index]


class NoiseSource:
    """Cuts a piece of noise for an utterance from any of the configured kinds."""

    def __init__(self, noise: NoiseConfig, cabins: CabinConfig, seed: int, folder: str | Path | None) -> None:
        kinds = {kind: weight for kind, weight in noise.kinds.items() if weight > 0}
        if folder is None and "files" in kinds and noise.probability > 0:
            del kinds["files"]
            if not kinds:
                raise ConfigError("noise.kinds asks for files only, but no folder of noise files was given")
        self.files = NoiseFiles(folder, noise) if folder is not None and "files" in kinds else None
        self.kinds = sorted(kinds)
        self._weights = np.array([kinds[kind] for kind in self.kinds])
        purpose = "test" if noise.heldout == "only" else "train"
        self._cabins, self._babble = CabinBank(cabins, seed, purpose), BabbleBank(cabins.clip_s, seed, purpose)

    def cut(self, rng: np.random.Generator, length: int) -> tuple[Samples, dict[str, Any]]:
        """A piece of shape (length,) and its draws: `noise` (kind, with the file's name) and where it was cut."""
        kind = self.kinds[int(rng.choice(len(self.kinds), p=self._weights / self._weights.sum()))]
        draws: dict[str, Any]
        if kind == "files" and self.files is not None:
            index = int(rng.integers(len(self.files.paths)))
            loop = self.files.load(index)
            draws = {"noise": f"file:{self.files.paths[index].stem}"}
        elif kind == "babble":
            index = int(rng.integers(_BABBLE_CLIPS))
            loop, voices = self._babble.clip(index)
            draws = {"noise": "babble", "clip": index, "voices": voices}
        else:
            index = int(rng.integers(self._cabins.config.clips))
            loop, drive = self._cabins.clip(index)
            draws = {"noise": "cabin", "clip": index, "drive": dict(drive)}
        start = _loud_start(rng, loop, length)
        draws["noise_start_s"] = round(start / SAMPLE_RATE_HZ, 4)
        return loops.cut(loop, start, length), draws


def _loud_start(rng: np.random.Generator, loop: Samples, length: int) -> int:
    """A start whose piece has at least a tenth of the recording's mean power: barks and cries have long gaps.

    The first draw usually will do; otherwise one is drawn among all starts, 10 ms apart, that will.
    """
    enough = 0.1 * float(np.mean(np.square(loop)))
    start = int(rng.integers(len(loop)))
    if float(np.mean(np.square(loops.cut(loop, start, length)))) >= enough:
        return start
    hop = SAMPLE_RATE_HZ // 100
    starts = np.arange(0, len(loop), hop)
    energy = np.concatenate(([0.0], np.cumsum(np.square(loop, dtype=np.float64))))
    within = length % len(loop)
    ends = (starts + within) % len(loop)
    wrapped = np.where(starts + within >= len(loop), energy[-1], 0.0)
    power = (energy[ends] - energy[starts] + wrapped + length // len(loop) * energy[-1]) / length
    good = starts[power >= enough]
    return int(rng.choice(good if len(good) else starts))
