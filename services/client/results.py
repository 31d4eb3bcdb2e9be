"""Results as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from services.dengar.v1 import speech_pb2 as pb


@dataclass(frozen=True, slots=True)
class Word:
    """One word; times in seconds and confidence in [0, 1] are None where they were not asked for."""

    word: str
    start_s: float | None
    end_s: float | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Alternative:
    """One hypothesis: spoken form, confidence in [0, 1], words, and the written form if it was asked for."""

    text: str
    confidence: float
    words: tuple[Word, ...] = ()
    written: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The answer to a whole recording.

    Attributes:
        alternatives: best first, at least one; no words heard is one with an empty text.
        audio_s: how much audio was heard.
        bundle_hash: of the bundle that answered.
        query_id: for `Client.feedback`; empty if nothing of the query is kept.
    """

    alternatives: tuple[Alternative, ...]
    audio_s: float
    bundle_hash: str
    query_id: str = ""

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.alternatives[0].text if self.alternatives else ""


@dataclass(frozen=True, slots=True)
class StreamResult:
    """One message of a stream.

    Attributes:
        alternatives: best first; one in interim results, none in the event that says the speaker has stopped.
        is_final: nothing will change it.
        stability: of an interim result: how likely it stays, in [0, 1].
        end_s: where in the audio it ends.
        end_of_utterance: the speaker has stopped; the final result follows.
        audio_s: how much audio was heard; final results only.
        bundle_hash: of the bundle that answered; final results only.
        query_id: for `Client.feedback`; empty if nothing of the query is kept.
        restarted: the first result after a lost connection (see `Reconnect`); those before it no longer count.
    """

    alternatives: tuple[Alternative, ...]
    is_final: bool
    stability: float
    end_s: float
    end_of_utterance: bool = False
    audio_s: float = 0.0
    bundle_hash: str = ""
    query_id: str = ""
    restarted: bool = False

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.alternatives[0].text if self.alternatives else ""


@dataclass(frozen=True, slots=True)
class Info:
    """What a server runs and accepts."""

    version: str
    bundle_hash: str
    languages: tuple[str, ...]
    encodings: tuple[str, ...]
    max_audio_s: float
    max_packet_bytes: int


def transcript_of(response: pb.RecognizeResponse) -> Transcript:
    """Reads the answer of `Recognize`."""
    alternatives = response.results[0].alternatives if response.results else []
    metadata = response.metadata
    audio_s = _seconds(metadata.audio_duration)
    return Transcript(_alternatives(alternatives), audio_s, metadata.bundle_hash, metadata.query_id)


def stream_results_of(response: pb.StreamingRecognizeResponse) -> Iterator[StreamResult]:
    """Reads one answer of `StreamingRecognize`."""
    if response.speech_event_type == pb.StreamingRecognizeResponse.END_OF_SINGLE_UTTERANCE:
        yield StreamResult((), False, 0.0, _seconds(response.speech_event_time), end_of_utterance=True)
    for result in response.results:
        yield StreamResult(
            _alternatives(result.alternatives),
            result.is_final,
            result.stability,
            _seconds(result.result_end_time),
            audio_s=_seconds(response.metadata.audio_duration),
            bundle_hash=response.metadata.bundle_hash,
            query_id=response.metadata.query_id,
        )


def info_of(response: pb.GetInfoResponse) -> Info:
    """Reads the answer of `GetInfo`."""
    return Info(
        response.version,
        response.bundle_hash,
        tuple(response.language_codes),
        tuple(pb.RecognitionConfig.AudioEncoding.Name(encoding) for encoding in response.encodings),
        _seconds(response.max_audio_duration),
        response.max_audio_content_bytes,
    )


def _alternatives(messages: Sequence[pb.SpeechRecognitionAlternative]) -> tuple[Alternative, ...]:
    return tuple(
        Alternative(message.transcript, message.confidence, tuple(map(_word, message.words)), message.written)
        for message in messages
    )


def _word(message: pb.WordInfo) -> Word:
    timed = message.HasField("end_time")
    return Word(
        message.word,
        _seconds(message.start_time) if timed else None,
        _seconds(message.end_time) if timed else None,
        message.confidence if message.HasField("confidence") else None,
    )


def _seconds(message: Duration) -> float:
    return message.seconds + message.nanos / 1e9
