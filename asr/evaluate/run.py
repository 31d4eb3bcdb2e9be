"""Runs a recogniser over manifests, item by item, as the service would hear them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import Field
from pydantic.dataclasses import dataclass

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.corpus.manifest import AudioReader, Manifest, Utterance
from asr.decode import Hypothesis
from asr.errors import ConfigError, DengarError
from asr.evaluate.halves import Half, take_half
from asr.evaluate.results import ScoredUtterance

if TYPE_CHECKING:
    from asr.augment import Augmenter


@dataclass(frozen=True, config={"extra": "forbid"})
class RunConfig:
    """How items are heard.

    Attributes:
        whole: decode whole files at once; else as a stream, in packets of `packet_ms`.
        packet_ms: length of a packet.
        snr_db: conditions under which every item is heard in turn: as it is (None), or with noise at an exact
            signal-to-noise ratio (see `asr.augment`).
        noise: kind of that noise; with "files" only those reserved for testing are used.
        noise_dir: folder of noise files.
        half: hear one half of each manifest only (see `asr.evaluate.halves`); None for all of it.
        every: hear one item of so many of each manifest or half, from the first.
        seed: of the noise; the same item meets the same noise at every ratio.
    """

    whole: bool = False
    packet_ms: Annotated[int, Field(ge=10, le=10_000)] = 100
    snr_db: Annotated[tuple[float | None, ...], Field(min_length=1)] = (None,)
    noise: Literal["cabin", "babble", "files"] = "cabin"
    noise_dir: str = ""
    half: Half | None = None
    every: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0

    def chosen(self, manifest: Manifest) -> list[Utterance]:
        """The items that are heard, in the manifest's order."""
        return take_half(manifest.utterances, self.half)[:: self.every]

    def augmenters(self) -> list[Augmenter | None]:
        """One for each condition; raises `ConfigError` if a condition cannot be made."""
        if all(snr_db is None for snr_db in self.snr_db):
            return [None for _ in self.snr_db]
        from asr.augment import AugmentConfig, Augmenter

        if self.noise == "files" and not self.noise_dir:
            raise ConfigError("noise from files needs a folder of them: --noise-dir FOLDER")
        return [
            None
            if snr_db is None
            else Augmenter(AugmentConfig.noise_at_snr(snr_db, kind=self.noise), self.seed, self.noise_dir or None)
            for snr_db in self.snr_db
        ]


class Stream(Protocol):
    """The part of `asr.recognize.RecognitionStream` that evaluation needs."""

    def accept(self, samples: Samples) -> None:
        """Hears some more samples."""

    def finish(self) -> list[Hypothesis]:
        """Ends the audio; best first."""
        ...


class Listener(Protocol):
    """The part of `asr.recognize.Recognizer` that evaluation needs."""

    def stream(self) -> Stream:
        """Opens a stream."""
        ...

    def transcribe(self, samples: Samples, *, whole: bool = False) -> list[Hypothesis]:
        """Recognises finished audio; best first."""
        ...


def recognise(listener: Listener, manifests: Sequence[Manifest], config: RunConfig) -> Iterator[ScoredUtterance]:
    """Yields what is heard in every item of every manifest, under each condition in turn.

    An item that cannot be read or recognised yields its error and the others go on.
    """
    for condition, augmenter in enumerate(config.augmenters()):
        for manifest in manifests:
            reader = AudioReader(manifest.root)
            path = str(manifest.path.resolve())
            for utterance in config.chosen(manifest):
                try:
                    samples, heard = _sound(reader, utterance, augmenter)
                    item = _hear(listener, samples, heard, config)
                except DengarError as error:
                    item = ScoredUtterance(utterance, error=str(error))
                yield replace(item, manifest=path, condition=condition)


def audio_source(config: RunConfig) -> Callable[[ScoredUtterance], Samples | None]:
    """Makes what an item sounded like again, noise included, from its manifest; None where that has gone."""
    augmenters = config.augmenters()
    readers: dict[str, AudioReader] = {}

    def audio(item: ScoredUtterance) -> Samples | None:
        reader = readers.setdefault(item.manifest, AudioReader(Path(item.manifest).parent))
        try:
            return _sound(reader, item.utterance, augmenters[item.condition])[0]
        except (DengarError, IndexError):
            return None

    return audio


def _sound(reader: AudioReader, utterance: Utterance, augmenter: Augmenter | None) -> tuple[Samples, Utterance]:
    """An item's samples in the condition, and the item with the noise's draws."""
    samples = reader.read(utterance)
    if augmenter is None:
        return samples, utterance
    samples, draws = augmenter.apply(samples, utterance.id or utterance.audio_filepath)
    return samples, replace(utterance, augmentation=draws)


def _hear(listener: Listener, samples: Samples, utterance: Utterance, config: RunConfig) -> ScoredUtterance:
    started = time.process_time()
    found = (
        listener.transcribe(samples, whole=True) if config.whole else hear_stream(listener, samples, config.packet_ms)
    )
    best = found[0]
    return ScoredUtterance(
        utterance,
        hypothesis=best.text,
        words=best.words,
        confidence=best.confidence,
        audio_s=len(samples) / SAMPLE_RATE_HZ,
        processor_s=time.process_time() - started,
    )


def hear_stream(listener: Listener, samples: Samples, packet_ms: int) -> list[Hypothesis]:
    """Streams samples of shape (T,) in packets and returns the final hypotheses, best first."""
    stream = listener.stream()
    packet = packet_ms * SAMPLE_RATE_HZ // 1000
    for start in range(0, len(samples), packet):
        stream.accept(samples[start : start + packet])
    return stream.finish()
