"""Runs a recogniser over manifests, item by item, as the service would hear them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.corpus.manifest import AudioReader, Manifest, Utterance
from asr.decode import Hypothesis
from asr.errors import DengarError
from asr.evaluate.results import ScoredUtterance

PACKET_MS = 100


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


class Noise(Protocol):
    """The part of `asr.augment.Augmenter` that evaluation needs."""

    def apply(self, samples: Samples, utterance_id: str, epoch: int = 0) -> tuple[Samples, dict[str, Any]]:
        """The samples with noise, and every draw."""
        ...


def recognise(
    listener: Listener,
    manifests: Sequence[Manifest],
    *,
    conditions: Sequence[Noise | None] = (None,),
    whole: bool = False,
    packet_ms: int = PACKET_MS,
) -> Iterator[ScoredUtterance]:
    """Yields what is heard in every item of every manifest, under each condition in turn.

    Args:
        listener: the recogniser.
        manifests: what to hear.
        conditions: noise to add to every item; None leaves it as it is.
        whole: decode whole files at once; else in packets of `packet_ms`, as a stream.
        packet_ms: length of a packet.
    """
    for noise in conditions:
        for manifest in manifests:
            reader = AudioReader(manifest.root)
            for utterance in manifest.utterances:
                path = str(manifest.path.resolve())
                try:
                    samples, heard = read_audio(reader, utterance, noise)
                    yield _hear(listener, samples, heard, path, None if whole else packet_ms)
                except DengarError as error:
                    yield ScoredUtterance(utterance, error=str(error), manifest=path)


def read_audio(reader: AudioReader, utterance: Utterance, noise: Noise | None) -> tuple[Samples, Utterance]:
    """An item's samples as the recogniser hears them, and the item with the noise's draws.

    The draws depend on the noise's seed and the item's name alone, so the same audio can be made again.
    """
    samples = reader.read(utterance)
    if noise is None:
        return samples, utterance
    samples, draws = noise.apply(samples, utterance.id or utterance.audio_filepath)
    return samples, replace(utterance, augmentation={**(utterance.augmentation or {}), **draws})


def _hear(
    listener: Listener, samples: Samples, utterance: Utterance, manifest: str, packet_ms: int | None
) -> ScoredUtterance:
    started = time.process_time()
    best = _stream(listener, samples, packet_ms) if packet_ms else listener.transcribe(samples, whole=True)[0]
    processor_s = time.process_time() - started
    return ScoredUtterance(
        utterance, best.text, best.words, best.confidence, len(samples) / SAMPLE_RATE_HZ, processor_s, manifest=manifest
    )


def _stream(listener: Listener, samples: Samples, packet_ms: int) -> Hypothesis:
    stream = listener.stream()
    packet = packet_ms * SAMPLE_RATE_HZ // 1000
    for start in range(0, len(samples), packet):
        stream.accept(samples[start : start + packet])
    return stream.finish()[0]
