"""What a caller can choose, and the requests that say so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.errors import ConfigError
from services.dengar.v1 import speech_pb2 as pb

DEFAULT_ADDRESS = os.environ.get("DENGAR_ADDRESS", "127.0.0.1:50051")
PACKET_BYTES = 65_536

# gRPC itself tries again, and only whole recordings that the server did not take (UNAVAILABLE, RESOURCE_EXHAUSTED), so
# nothing is heard twice. Streams are not replayed: a retried stream whose source is quiet while the last attempt fails
# never gets its status (grpcio 1.85).
_RETRIED = [{"service": "dengar.v1.Speech", "method": method} for method in ("Recognize", "GetInfo")]
_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}
CHANNEL_OPTIONS: list[tuple[str, str | int]] = [
    (
        "grpc.service_config",
        json.dumps({"methodConfig": [{"name": _RETRIED, "retryPolicy": _RETRY}]}),
    ),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
]

CONSENTS = {"none": pb.CONSENT_NONE, "transcript": pb.CONSENT_TRANSCRIPT, "audio": pb.CONSENT_AUDIO}

Audio = bytes | bytearray | memoryview | npt.NDArray[np.int16] | npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How audio is sent and what is asked for.

    Attributes:
        encoding: LINEAR16, MULAW, FLAC, OGG_OPUS, MP3, WEBM_OPUS, or empty: the server finds out (WAV too).
        sample_rate_hz: needed for LINEAR16 and MULAW without a header; 0: a header says it.
        channels: 1 or 2, of LINEAR16 and MULAW.
        language: BCP-47, or empty for the server's own.
        max_alternatives: hypotheses at most.
        word_times: give each word its times.
        word_confidence: give each word its confidence.
        written_form: give the written form beside the spoken one.
        consent: what the server may keep of it: ``none``, ``transcript`` or ``audio``.
        user: who asks, as the application names them; needed with consent, so that what is kept can be forgotten.
    """

    encoding: str = ""
    sample_rate_hz: int = 0
    channels: int = 1
    language: str = ""
    max_alternatives: int = 1
    word_times: bool = True
    word_confidence: bool = True
    written_form: bool = False
    consent: str = "none"
    user: str = ""

    def config(self) -> pb.RecognitionConfig:
        """The message.

        Raises:
            ConfigError: the contract has no such encoding or consent.
        """
        known = pb.RecognitionConfig.AudioEncoding.keys()
        if self.encoding and self.encoding not in known:
            raise ConfigError(f"encoding {self.encoding!r} is unknown; known: {', '.join(known[1:])}")
        if self.consent not in CONSENTS:
            raise ConfigError(f"consent {self.consent!r} is unknown; known: {', '.join(CONSENTS)}")
        return pb.RecognitionConfig(
            encoding=self.encoding or None,
            sample_rate_hertz=self.sample_rate_hz,
            audio_channel_count=self.channels,
            language_code=self.language,
            max_alternatives=self.max_alternatives,
            enable_word_time_offsets=self.word_times,
            enable_word_confidence=self.word_confidence,
            enable_written_form=self.written_form,
            consent=CONSENTS[self.consent],
            user=self.user,
        )


def unary_request(audio: Audio, options: Options) -> pb.RecognizeRequest:
    """The request of `Recognize`."""
    return pb.RecognizeRequest(config=options.config(), audio=pb.RecognitionAudio(content=as_bytes(audio)))


def first_request(options: Options, *, interim_results: bool, single_utterance: bool) -> pb.StreamingRecognizeRequest:
    """The first request of `StreamingRecognize`."""
    return pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(
            config=options.config(), interim_results=interim_results, single_utterance=single_utterance
        )
    )


def audio_requests(audio: Audio) -> Iterator[pb.StreamingRecognizeRequest]:
    """Later requests: one for each `PACKET_BYTES` of a chunk."""
    data = as_bytes(audio)
    for start in range(0, len(data), PACKET_BYTES):
        yield pb.StreamingRecognizeRequest(audio_content=data[start : start + PACKET_BYTES])


def as_bytes(audio: Audio) -> bytes:
    """Bytes as they are; samples, int16 or float in [-1, 1], of shape (T,) or (T, channels), as LINEAR16."""
    if not isinstance(audio, np.ndarray):
        return bytes(audio)
    samples: npt.NDArray[Any] = audio
    if samples.dtype.kind == "f":
        samples = np.rint(np.clip(samples, -1.0, 1.0 - 2**-15) * 2**15)
    return samples.astype("<i2").tobytes()
