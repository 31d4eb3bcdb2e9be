"""One caller's audio on its way through decoder and recogniser: blocking, without gRPC, run by a pipeline's workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from asr.audio import MIN_DURATION_S, SAMPLE_RATE_HZ, Samples
from asr.endpoint import EndpointConfig, Endpointer, Event, Evidence, Reason
from asr.errors import AudioError
from services.recognizer.audio_in import NO_SAMPLES, StreamDecoder
from services.recognizer.phrases import Wanted
from services.recognizer.served_names import NO_NAMES, NOTHING, ServedNames

BLOCK_S = 1.0
"""Most audio of one stream recognised in one turn, so that a long packet does not keep the others waiting."""

WATCHED_BLOCK_S = 0.1
"""The same of a stream that may end by itself: more than that behind its end is never heard."""


class Word(Protocol):
    """See `asr.decode`."""

    @property
    def word(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def confidence(self) -> float: ...


class Hypothesis(Protocol):
    """See `asr.decode`."""

    @property
    def text(self) -> str: ...
    @property
    def words(self) -> Sequence[Word]: ...
    @property
    def confidence(self) -> float: ...


class Partial(Protocol):
    """See `asr.recognize`."""

    @property
    def hypothesis(self) -> Hypothesis: ...
    @property
    def stability(self) -> float: ...


class RecognitionStream(Protocol):
    """See `asr.recognize`."""

    def take_evidence(self) -> Sequence[Evidence]: ...
    @property
    def missing_samples(self) -> int: ...
    @property
    def missing_glimpse_samples(self) -> int: ...
    def partial(self) -> Partial: ...
    def finish(self) -> Sequence[Hypothesis]: ...


class Voice(Protocol):
    """See `asr.voice_activity.VoiceActivity`."""

    def stream(self) -> Any: ...
    def hear(self, heard: Sequence[tuple[Any, Samples]], /) -> Sequence[npt.NDArray[np.float32]]: ...


class Recognizer(Protocol):
    """What the server needs of `asr.recognize.Recognizer`."""

    @property
    def bundle_hash(self) -> str: ...
    def hints(self, phrases: Any, classes: Any, contexts: Any = None, /) -> Any: ...
    def stream(
        self, nbest: int = 1, hints: Any = None, *, watched: bool = False, keep_posteriors: bool = False
    ) -> Any: ...
    def advance(self, heard: Sequence[tuple[Any, Samples, bool]], costs: Any = None, /) -> None: ...
    def glimpse(self, streams: Sequence[Any], costs: Any = None, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Interim:
    """What is understood so far.

    Attributes:
        partial: reading and stability.
        at_s: how much audio it rests on.
        arrived_at: when the last of that audio came, by `time.monotonic`; None if that is not known.
        first_word_at: when the end of the stream's first word was spoken, likewise; None without words.
    """

    partial: Partial
    at_s: float
    arrived_at: float | None = None
    first_word_at: float | None = None


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Somebody started, or stopped, speaking.

    Attributes:
        began: started.
        at_s: where in the audio that was noticed.
    """

    began: bool
    at_s: float


@dataclass(frozen=True, slots=True)
class EndOfUtterance:
    """The utterance is over; the final result follows, and what comes in is not heard any more.

    Attributes:
        at_s: where in the audio that was noticed.
        reason: "silence", "no speech" or "too long".
        decided_at: when, by `time.monotonic`.
    """

    at_s: float
    reason: Reason
    decided_at: float


@dataclass(frozen=True, slots=True)
class Final:
    """The end.

    Attributes:
        hypotheses: best first.
        at_s: how much audio was heard.
        unused: phrases of the request that could not be used, and why.
        first_word_at: as in `Interim`.
    """

    hypotheses: Sequence[Hypothesis]
    at_s: float
    unused: Sequence[tuple[str, str]] = ()
    first_word_at: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The end, otherwise."""

    error: Exception


Outcome: TypeAlias = Interim | SpeechEvent | EndOfUtterance | Final | Failure


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a caller asked for.

    Attributes:
        nbest: how many hypotheses the final result has at most.
        interim_interval_s: interim results at most this often; None for none.
        endpoint: when the utterance ends by itself; None for never.
        speech_events: tell when somebody starts and stops speaking.
        record: keep what was heard, for `Session.recording`.
        keep: keep that, and the posteriors, for `Session.evidence`.
        phrases: hints.
        names: that are hinted at beside them.
    """

    nbest: int = 1
    interim_interval_s: float | None = None
    endpoint: EndpointConfig | None = None
    speech_events: bool = False
    record: bool = False
    keep: bool = False
    phrases: Wanted | None = None
    names: ServedNames = NO_NAMES


class Session:
    """Turns packets into blocks of samples for the recogniser, and what the recogniser then knows into outcomes.

    A worker calls `receive` and `block`, lets the recogniser advance, and calls `outcomes`. Not for two threads at
    once.

    Args:
        recognizer: whose stream this becomes with the first packet.
        decoder: of this caller's encoding; the session closes it.
        config: what was asked for.
        voice: hears voices; needed for an endpoint or speech events.
    """

    def __init__(
        self, recognizer: Recognizer, decoder: StreamDecoder, config: SessionConfig, voice: Voice | None = None
    ) -> None:
        self.voice = voice if config.endpoint or config.speech_events else None
        self.voice_stream = self.voice.stream() if self.voice else None
        self._endpointer = Endpointer(config.endpoint or EndpointConfig(), ends=config.endpoint is not None)
        self._events: list[Event] = []
        self.recognizer = recognizer
        self.config = config
        self._decoder = decoder
        self._stream: RecognitionStream | None = None
        self._waiting: list[Samples] = []
        self._received_all = False
        self._received = 0
        self._heard = 0
        self._over = False
        self._last_interim = ("", -float("inf"))
        self._given = NOTHING
        self._recorded: list[npt.NDArray[np.int16]] = []
        self._arrivals = [(0, time.monotonic())]  # samples received and when, as long as there was no word
        self._arrived_at: float | None = None
        self._first_word_at: float | None = None

    @property
    def recording(self) -> Samples:
        """What was heard, shape (T,), if it was to be recorded."""
        return joined(self._recorded)

    def evidence(self) -> tuple[RecognitionStream, Sequence[npt.NDArray[np.int16]]]:
        """The stream with its posteriors, and pieces of what was heard (see `joined`), once the session is over.

        Both may be read by another thread then, and outlive the session.
        """
        return self.stream, self._recorded

    @property
    def duration_s(self) -> float:
        """Seconds of audio recognised so far."""
        return self._heard / SAMPLE_RATE_HZ

    @property
    def received_s(self) -> float:
        """Seconds of audio decoded so far."""
        return self._received / SAMPLE_RATE_HZ

    @property
    def over(self) -> bool:
        """The last outcome is out."""
        return self._over

    @property
    def stream(self) -> RecognitionStream:
        """The recogniser's side; made when first wanted."""
        if self._stream is None:
            config = self.config
            self._given = config.names.hints(self.recognizer, config.phrases)
            self._stream = self.recognizer.stream(
                config.nbest, self._given.hints, watched=self.voice is not None, keep_posteriors=config.keep
            )
        return self._stream

    @property
    def more(self) -> bool:
        """Whether samples wait that `block` held back."""
        return bool(self._waiting)

    def wanted_bytes(self, *, glimpses: bool) -> int:
        """How many bytes must come before anything new can be said; 0 if that is not known.

        Args:
            glimpses: for those who want interim results the worker has time to look into unfinished chunks.
        """
        if self._waiting or self.voice is not None:
            return 0
        stream = self.stream
        return self._decoder.bytes_for(
            stream.missing_glimpse_samples if glimpses and self.interim else stream.missing_samples
        )

    @property
    def interim(self) -> bool:
        """Whether interim results were asked for."""
        return self.config.interim_interval_s is not None

    def receive(self, packets: Sequence[bytes], *, end: bool, arrived_at: float | None = None) -> None:
        """Decodes what came in.

        Args:
            packets: encoded bytes.
            end: nothing comes after them.
            arrived_at: when the last of them came, by `time.monotonic`.

        Raises:
            AudioError: the audio cannot be decoded or is out of bounds.
        """
        if packets:
            self._keep(self._decoder.feed(packets[0] if len(packets) == 1 else b"".join(packets)))
        if end and not self._received_all:
            self._received_all = True
            self._keep(self._decoder.finish())
        if arrived_at is not None:
            self._arrived_at = arrived_at
            if self._first_word_at is None:
                self._arrivals.append((self._received, arrived_at))

    def block(self) -> tuple[Samples, bool]:
        """The next samples to recognise, at most `BLOCK_S`, and whether they are the last.

        Raises:
            AudioError: all the audio is too little to hold a word.
        """
        samples = self._waiting[0] if len(self._waiting) == 1 else np.concatenate([NO_SAMPLES, *self._waiting])
        size = int((WATCHED_BLOCK_S if self.voice else BLOCK_S) * SAMPLE_RATE_HZ)
        block, rest = samples[:size], samples[size:]
        self._waiting = [rest] if len(rest) else []
        self._heard += len(block)
        if self.config.record or self.config.keep:
            self._recorded.append(np.rint(block * np.float32(32767)).astype(np.int16))
        end = self._received_all and not self._waiting
        if end and self.duration_s < MIN_DURATION_S:
            raise AudioError(
                f"the audio is too short: {self.duration_s * 1000:.0f} ms came, "
                f"at least {MIN_DURATION_S * 1000:.0f} ms are needed to hold a word"
            )
        return block, end

    def notice(self, probabilities: npt.NDArray[np.float32]) -> None:
        """Takes the probabilities of voice in the last block, shape (t,), once the recogniser has heard it."""
        self._events += self._endpointer.accept(probabilities, self.stream.take_evidence())

    def outcomes(self, *, end: bool) -> list[Outcome]:
        """What there is to say after the recogniser heard the last block."""
        said: list[Outcome] = []
        events, self._events = self._events, []
        for event in events:
            if event.kind == "endpoint":
                assert event.reason is not None
                said.append(EndOfUtterance(event.time_s, event.reason, time.monotonic()))
                end = True
            elif self.config.speech_events:
                said.append(SpeechEvent(event.kind == "speech begin", event.time_s))
        if end:
            self._over = True
            hypotheses = self._given.aliases.apply_all(self.stream.finish())
            return [*said, Final(hypotheses, self.duration_s, self._given.unused, self._first_word(hypotheses[0]))]
        return [*said, *self._interim()]

    def close(self) -> None:
        """Lets go of everything that it holds; may be called more than once."""
        self._over = True
        self._waiting = []
        self._stream = None
        self._decoder.close()

    def _keep(self, samples: Samples) -> None:
        if len(samples):
            self._waiting.append(samples)
            self._received += len(samples)

    def _interim(self) -> list[Outcome]:
        text, when = self._last_interim
        now = time.monotonic()
        if self.config.interim_interval_s is None or now - when < self.config.interim_interval_s:
            return []
        partial = self._given.aliases.apply_within(self.stream.partial())
        if partial.hypothesis.text == text:
            return []
        self._last_interim = (partial.hypothesis.text, now)
        return [Interim(partial, self.duration_s, self._arrived_at, self._first_word(partial.hypothesis))]

    def _first_word(self, hypothesis: Hypothesis) -> float | None:
        """When the end of the first word was spoken, as far as its packet tells.

        Live speech comes when the last sample of a packet is spoken; what is faster than that was there no earlier
        than the packet before.
        """
        if self._first_word_at is None and self._arrivals and hypothesis.words:
            end = round(hypothesis.words[0].end_s * SAMPLE_RATE_HZ)
            earliest = -float("inf")
            for received, arrived_at in self._arrivals:
                spoken_at = arrived_at - (received - end) / SAMPLE_RATE_HZ
                if received >= end:
                    break
                earliest = arrived_at
            self._first_word_at = min(arrived_at, max(earliest, spoken_at))
            self._arrivals = []
        return self._first_word_at


def joined(pieces: Sequence[npt.NDArray[np.int16]]) -> Samples:
    """What a session recorded, shape (T,)."""
    return np.concatenate([np.zeros(0, np.int16), *pieces]).astype(np.float32) / np.float32(32767)
