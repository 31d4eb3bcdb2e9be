"""What an endpointer is told about recordings, and when they truly end; kept, so that rules can be tried quickly.

The words' times are those of a forced alignment over the recogniser's posteriors in quiet. After the recording its
background goes on: noise with the spectrum of its quietest tenth; where a condition adds noise, that goes on as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.seeding import generator
from asr.corpus.manifest import AudioReader, Manifest, Problem, Utterance
from asr.decode import Word
from asr.decode.types import LogProbs
from asr.endpoint import Evidence, evidence
from asr.errors import DengarError, ManifestError
from asr.evaluate.forced_alignment import align_words
from asr.evaluate.halves import Half, halves
from asr.evaluate.run import RunConfig
from asr.recognize import Recognizer
from asr.voice_activity import VoiceActivity, VoiceStream

QUIET_SHARE = 0.1
_WINDOW = 400


@dataclass(frozen=True, config={"extra": "forbid"})
class TraceConfig:
    """How recordings are heard.

    Attributes:
        run: conditions, which items, packets and seed.
        tail_s: background after the recording.
        hesitation_s: silence put between the two words in the middle, as of someone who has to think; 0 for none.
    """

    run: RunConfig = RunConfig()
    tail_s: Annotated[float, Field(ge=1, le=60)] = 4.0
    hesitation_s: Annotated[float, Field(ge=0, le=10)] = 0.0


@plain_dataclass(frozen=True, slots=True)
class Trace:
    """One recording in one condition.

    Attributes:
        id, corpus: of the recording.
        half: of its manifest, see `asr.evaluate.halves`.
        condition: "clean", or the noise as in "cabin 5 dB".
        word_ends_s: the true end of each word.
        audio_s: length with its tail.
        probabilities: of voice, for each frame of `asr.voice_activity`.
        evidence: after each step of the recogniser.
    """

    id: str
    corpus: str
    half: Half
    condition: str
    word_ends_s: tuple[float, ...]
    audio_s: float
    probabilities: tuple[float, ...]
    evidence: tuple[Evidence, ...]

    @property
    def end_s(self) -> float:
        """The true end of speech."""
        return self.word_ends_s[-1]


def hear(
    recognizer: Recognizer, voice: VoiceActivity, manifests: Sequence[Manifest], config: TraceConfig
) -> Iterator[Trace | Problem]:
    """Yields a trace of every item in every condition, or why there is none."""
    run = config.run
    conditions = [
        ("clean" if snr_db is None else f"{run.noise} {snr_db:g} dB", augmenter)
        for snr_db, augmenter in zip(run.snr_db, run.augmenters(), strict=True)
    ]
    for manifest in manifests:
        reader = AudioReader(manifest.root)
        side = dict(zip(map(id, manifest.utterances), halves(manifest.utterances), strict=True))
        for utterance in run.chosen(manifest):
            name = utterance.id or utterance.audio_filepath
            try:
                samples, words = _staged(recognizer, reader.read(utterance), utterance, config)
            except DengarError as error:
                yield Problem(name, str(error))
                continue
            ends = tuple(round(word.end_s, 3) for word in words)
            for condition, augmenter in conditions:
                heard = augmenter.apply(samples, name)[0] if augmenter else samples
                yield Trace(
                    id=name,
                    corpus=utterance.corpus,
                    half=side[id(utterance)],
                    condition=condition,
                    word_ends_s=ends,
                    audio_s=len(heard) / SAMPLE_RATE_HZ,
                    probabilities=tuple(VoiceStream(voice).accept(heard).round(4).tolist()),
                    evidence=tuple(all_evidence(recognizer, heard)),
                )


def all_evidence(recognizer: Recognizer, samples: Samples) -> Iterator[Evidence]:
    """What the recogniser knows after each step in a stream of these samples, shape (T,)."""
    decoder, geometry = recognizer.decoder.stream(), recognizer.geometry
    for chunk in _chunks(recognizer.posteriors(samples), geometry.chunk_frames, geometry.delay_frames):
        decoder.accept(chunk)
        known = evidence(
            geometry, decoder.duration_s, decoder.trailing_silence_s, decoder.best().text, recognizer.decoder.lm
        )
        if known.at_s > len(samples) / SAMPLE_RATE_HZ:
            return  # known only because the signal is over
        yield known


def background(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """Stationary noise of shape (length,) with the spectrum of the quietest tenth of `samples` (T,)."""
    windows = samples[: len(samples) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    if not len(windows) or not length:
        return np.zeros(length, np.float32)
    power = np.mean(np.square(windows, dtype=np.float64), axis=1)
    quietest = windows[np.argsort(power)[: max(1, round(QUIET_SHARE * len(windows)))]]
    hann = np.hanning(_WINDOW)
    density = np.mean(np.abs(np.fft.rfft(quietest * hann)) ** 2, axis=0) / np.sum(hann**2)
    shape = np.interp(np.fft.rfftfreq(length), np.fft.rfftfreq(_WINDOW), density)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * np.sqrt(shape), length)
    return np.asarray(noise, dtype=np.float32)


def write_traces(path: Path, traces: Iterable[Trace]) -> None:
    """Writes one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for trace in traces:
            file.write(json.dumps(asdict(trace)) + "\n")


def is_traces(path: Path) -> bool:
    """Whether a file begins as `write_traces` begins one, and not as a manifest."""
    try:
        with path.open("rb") as file:
            return b'"probabilities": ' in file.readline()
    except OSError:
        return False


def read_traces(path: Path) -> list[Trace]:
    """Reads what `write_traces` wrote; raises `ManifestError`."""
    read = TypeAdapter(Trace)
    try:
        return [read.validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ManifestError(f"{path}: cannot be read as traces of dengar bench endpoint") from error


def _staged(
    recognizer: Recognizer, samples: Samples, utterance: Utterance, config: TraceConfig
) -> tuple[Samples, tuple[Word, ...]]:
    """The recording with its hesitation and tail, and its words' times in it."""
    words = _aligned(recognizer, samples, utterance)
    if not words:
        raise ManifestError("nobody speaks: the text is empty")
    rng = generator(config.run.seed, utterance.id or utterance.audio_filepath, "tail")
    if config.hesitation_s and len(words) > 1:
        middle = len(words) // 2
        cut = round((words[middle - 1].end_s + words[middle].start_s) / 2 * SAMPLE_RATE_HZ)
        pause = background(samples, round(config.hesitation_s * SAMPLE_RATE_HZ), rng)
        samples = np.concatenate([samples[:cut], pause, samples[cut:]])
        words = words[:middle] + tuple(_later(word, config.hesitation_s) for word in words[middle:])
    tail = background(samples, round(config.tail_s * SAMPLE_RATE_HZ), rng)
    return np.concatenate([samples, tail]), words


def _aligned(recognizer: Recognizer, samples: Samples, utterance: Utterance) -> tuple[Word, ...]:
    return align_words(
        recognizer.posteriors(samples), utterance.text, recognizer.bundle.tokens, recognizer.geometry.frame_s
    )


def _later(word: Word, seconds: float) -> Word:
    return Word(word.word, word.start_s + seconds, word.end_s + seconds, word.confidence)


def _chunks(log_probs: LogProbs, size: int, delay: int) -> Iterator[LogProbs]:
    """Posteriors (U, V) as the model's steps give them: the first `delay` frames of its output are none."""
    for end in range(size, len(log_probs) + delay + 1, size):
        start = max(0, end - size - delay)
        yield log_probs[start : max(start, end - delay)]
