"""From manifests to padded batches of log-mel and targets: length-bucketed, augmented on the fly, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from asr.audio import Samples
from asr.augment.wordless import Wordless
from asr.corpus.manifest import AudioReader, Utterance
from asr.errors import AudioError
from asr.features import FeatureConfig, log_mel

Augment = Callable[[Samples, str, int], tuple[Samples, dict[str, Any]]]


@dataclass(frozen=True)
class Item:
    """One utterance and where its audio lies."""

    reader: AudioReader
    utterance: Utterance
    target: tuple[int, ...]


@dataclass
class Batch:
    """Padded features and targets.

    Attributes:
        mel: shape (N, T, n_mels), padded with silence.
        mel_lengths: shape (N,), mel frames.
        targets: the utterances' token ids one after another, shape (sum of lengths,).
        target_lengths: shape (N,).
        texts: references.
        problems: what could not be read, and why.
        epoch: of the batch.
        number: of the batch within its epoch.
        names: of the utterances' files.
        corpora: of the utterances.
    """

    mel: Tensor
    mel_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    texts: list[str]
    problems: list[str]
    epoch: int = 0
    number: int = 0
    names: list[str] = field(default_factory=list)
    corpora: list[str] = field(default_factory=list)


def plan_batches(durations_s: Sequence[float], batch_s: float, seed: int, epoch: int) -> list[list[int]]:
    """Groups utterances of like length into batches of at most ``batch_s`` padded seconds, in random order.

    Lengths are jittered by 5 % before sorting, so that every epoch has other batches. An utterance longer
    than ``batch_s`` has a batch for itself. The same seed and epoch give the same plan.
    """
    rng = np.random.default_rng([seed, epoch])
    jittered = np.asarray(durations_s) * rng.uniform(0.95, 1.05, len(durations_s))
    batches: list[list[int]] = [[]]
    longest = 0.0
    for index in np.argsort(jittered):
        longest = max(longest, durations_s[index])
        if batches[-1] and longest * (len(batches[-1]) + 1) > batch_s:
            batches.append([])
            longest = durations_s[index]
        batches[-1].append(int(index))
    order = rng.permutation(len(batches))
    return [batches[i] for i in order]


class EndlessBatches(Sampler[list[tuple[int, int, int]]]):
    """Batches for ever from a given epoch and batch number, each a list of (index, epoch, batch number).

    Args:
        rank: of this process; each takes every ``world``-th utterance of a batch.
        world: number of processes.
    """

    def __init__(
        self, durations_s: Sequence[float], batch_s: float, seed: int, *, rank: int = 0, world: int = 1
    ) -> None:
        self.durations_s = durations_s
        self.batch_s = batch_s * world
        self.seed = seed
        self.rank, self.world = rank, world
        self.epoch, self.number = 0, 0

    def start_at(self, epoch: int, number: int) -> None:
        """Continues with batch ``number`` of ``epoch``."""
        self.epoch, self.number = epoch, number

    def plan(self, epoch: int) -> list[list[int]]:
        return plan_batches(self.durations_s, self.batch_s, self.seed, epoch)

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        epoch, number = self.epoch, self.number
        while True:
            plan = self.plan(epoch)
            for i in range(number, len(plan)):
                # A process without an utterance of its own repeats the first: every rank must take every step.
                mine = plan[i][self.rank :: self.world] or plan[i][:1]
                yield [(index, epoch, i) for index in mine]
            epoch, number = epoch + 1, 0


Loaded = tuple[Tensor, Item, int, int] | tuple[str, None, int, int]


class SpeechDataset(Dataset[Loaded]):
    """Decodes, augments and featurises one utterance; an unreadable file becomes its error message."""

    def __init__(
        self,
        items: Sequence[Item],
        features: FeatureConfig,
        augment: Augment | None = None,
        wordless: Wordless | None = None,
    ) -> None:
        self.items = items
        self.features = features
        self.augment, self.wordless = augment, wordless

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int, int]) -> Loaded:
        index, epoch, number = key
        item = self.items[index]
        try:
            samples = item.reader.read(item.utterance)
        except AudioError as error:
            return str(error), None, epoch, number
        name = item.utterance.id or item.utterance.audio_filepath
        empty = self.wordless.replacement(len(samples), name, epoch) if self.wordless else None
        if empty is not None:
            samples, item = empty, replace(item, utterance=replace(item.utterance, text=""), target=())
        elif self.augment is not None:
            samples, _ = self.augment(samples, name, epoch)
        return torch.from_numpy(log_mel(samples, self.features)), item, epoch, number


def collate(parts: list[Any], silence: float, stride: int, n_mels: int) -> Batch:
    """Pads a list of dataset items; targets that CTC cannot fit into the frames are reported."""
    problems = [part[0] for part in parts if part[1] is None]
    good = []
    for mel, item, _, _ in (part for part in parts if part[1] is not None):
        repeats = sum(a == b for a, b in zip(item.target, item.target[1:], strict=False))
        if len(item.target) + repeats > -(-len(mel) // stride):
            problems.append(f"{item.reader.name(item.utterance)}: too short for its text of {len(item.target)} tokens")
        else:
            good.append((mel, item))
    longest = max((len(mel) for mel, _ in good), default=0)
    padded = torch.full((len(good), longest, n_mels), silence)
    for row, (mel, _) in zip(padded, good, strict=True):
        row[: len(mel)] = mel
    return Batch(
        mel=padded,
        mel_lengths=torch.tensor([len(mel) for mel, _ in good], dtype=torch.int64),
        targets=torch.tensor([token for _, item in good for token in item.target], dtype=torch.int64),
        target_lengths=torch.tensor([len(item.target) for _, item in good], dtype=torch.int64),
        texts=[item.utterance.text for _, item in good],
        problems=problems,
        epoch=parts[0][2],
        number=parts[0][3],
        names=[item.reader.name(item.utterance) for _, item in good],
        corpora=[item.utterance.corpus for _, item in good],
    )


def spec_augment(batch: Batch, config: Any, generator: torch.Generator) -> Tensor:
    """Masks bands and times of each utterance with its mean (SpecAugment); returns a new mel of the same shape."""
    mel = batch.mel.clone()
    n_mels = mel.shape[2]

    def draw(limit: int) -> int:
        return int(torch.randint(max(1, limit), (1,), generator=generator))

    for row, length in zip(mel, batch.mel_lengths.tolist(), strict=True):
        mean = float(row[:length].mean())
        for _ in range(config.frequency_masks):
            width = draw(config.frequency_bands + 1)
            low = draw(n_mels - width + 1)
            row[:length, low : low + width] = mean
        for _ in range(config.time_masks):
            width = draw(min(config.time_frames, int(config.time_share * length)) + 1)
            first = draw(length - width + 1)
            row[first : first + width] = mean
    return mel
