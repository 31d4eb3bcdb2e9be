"""Between the contract's messages and the recogniser's types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from asr.endpoint import EndpointConfig
from asr.errors import ConfigError, MissingDependencyError
from services.dengar.v1 import speech_pb2 as pb
from services.recognizer.audio_in import StreamDecoder
from services.recognizer.phrases import unused_messages
from services.recognizer.session import Final, Hypothesis, Partial

LANGUAGES = ("en-US",)
MAX_ALTERNATIVES = 30
MAX_USER = 256
_CONSENTS = {pb.CONSENT_NONE: "", pb.CONSENT_TRANSCRIPT: "transcript", pb.CONSENT_AUDIO: "audio"}


@dataclass(frozen=True, slots=True)
class Settings:
    """A checked `RecognitionConfig`.

    Attributes:
        written: spoken form -> written form, or None where it was not asked for.
        consent: what may be kept: ``transcript``, ``audio``, or nothing if empty.
        user: who asks; never empty with consent.
    """

    encoding: str
    rate_hz: int
    channels: int
    nbest: int
    word_times: bool
    word_confidence: bool
    written: Callable[[str], str] | None
    consent: str = ""
    user: str = ""

    @property
    def bytes_per_s(self) -> int:
        """Of audio without a container; 0 where that is not known."""
        width = {"LINEAR16": 2, "MULAW": 1}.get(self.encoding, 0)
        return width * self.rate_hz * self.channels

    def decoder(self, max_audio_s: float) -> StreamDecoder:
        """A new decoder of audio with these settings."""
        return StreamDecoder(self.encoding, self.rate_hz, self.channels, max_audio_s)


def settings_of(config: pb.RecognitionConfig) -> Settings:
    """Checks a configuration; may import heavy modules, so call it in a worker thread.

    Raises:
        ConfigError: a value that is out of range, or a combination that makes no sense.
        MissingDependencyError: written forms were asked for and cannot be made here.
    """
    if not 0 <= config.max_alternatives <= MAX_ALTERNATIVES:
        raise ConfigError(f"max_alternatives is {config.max_alternatives}; accepted: 0 to {MAX_ALTERNATIVES}")
    wanted = config.language_code.lower()
    if wanted and not any(language.lower() in (wanted, f"{wanted}-us") for language in LANGUAGES):
        raise ConfigError(f"language_code {config.language_code!r} is not served; served: {', '.join(LANGUAGES)}")
    try:
        encoding = pb.RecognitionConfig.AudioEncoding.Name(config.encoding)
    except ValueError:
        encoding = str(config.encoding)
    settings = Settings(
        encoding=encoding,
        rate_hz=config.sample_rate_hertz,
        channels=config.audio_channel_count or 1,
        nbest=max(1, config.max_alternatives),
        word_times=config.enable_word_time_offsets,
        word_confidence=config.enable_word_confidence,
        written=_written_form() if config.enable_written_form else None,
        consent=_consent(config),
        user=config.user,
    )
    settings.decoder(max_audio_s=1.0)  # raises ConfigError
    return settings


def _consent(config: pb.RecognitionConfig) -> str:
    """What may be kept, once it is clear of whom."""
    if config.consent not in _CONSENTS:
        raise ConfigError(f"consent {config.consent} is unknown; known: {', '.join(pb.Consent.keys())}")
    if len(config.user) > MAX_USER:
        raise ConfigError(f"user has {len(config.user)} characters; accepted: at most {MAX_USER}")
    if config.consent and not config.user.strip():
        raise ConfigError(
            f"consent is {pb.Consent.Name(config.consent)} and user is empty; say whose consent it is, so that what is "
            "kept can be forgotten"
        )
    return _CONSENTS[config.consent]


def endpoint_of(config: pb.StreamingRecognitionConfig, default: EndpointConfig) -> EndpointConfig | None:
    """When the stream ends by itself; None for never. Raises `ConfigError`."""
    if not config.single_utterance and not config.HasField("voice_activity_timeout"):
        return None
    asked = config.voice_activity_timeout

    def seconds(name: str) -> float | None:
        found = getattr(asked, name)
        return found.seconds + found.nanos / 1e9 if asked.HasField(name) else None

    return default.with_request(seconds("speech_start_timeout"), seconds("speech_end_timeout"), seconds("max_length"))


def timeouts(config: EndpointConfig) -> pb.VoiceActivityTimeout:
    """The same as a message."""
    return pb.VoiceActivityTimeout(
        speech_start_timeout=duration(config.start_timeout_s),
        speech_end_timeout=duration(config.silence_s),
        max_length=duration(config.max_s),
    )


def unary_result(hypotheses: Sequence[Hypothesis], settings: Settings, duration_s: float) -> pb.SpeechRecognitionResult:
    """The result of a whole recording."""
    return pb.SpeechRecognitionResult(
        alternatives=[_alternative(hypothesis, settings) for hypothesis in hypotheses],
        result_end_time=duration(duration_s),
    )


def final_result(
    hypotheses: Sequence[Hypothesis], settings: Settings, duration_s: float
) -> pb.StreamingRecognitionResult:
    """The last result of a stream."""
    return pb.StreamingRecognitionResult(
        alternatives=[_alternative(hypothesis, settings) for hypothesis in hypotheses],
        is_final=True,
        result_end_time=duration(duration_s),
    )


def interim_result(partial: Partial, duration_s: float) -> pb.StreamingRecognitionResult:
    """What has been understood so far."""
    return pb.StreamingRecognitionResult(
        alternatives=[pb.SpeechRecognitionAlternative(transcript=partial.hypothesis.text)],
        stability=min(1.0, max(0.0, partial.stability)),
        result_end_time=duration(duration_s),
    )


def metadata(bundle_hash: str, final: Final, query_id: str = "") -> pb.ResponseMetadata:
    """What comes with a final result."""
    return pb.ResponseMetadata(
        bundle_hash=bundle_hash,
        audio_duration=duration(final.at_s),
        unused_phrases=unused_messages(final.unused),
        query_id=query_id,
    )


def duration(seconds: float) -> Duration:
    """Seconds as the contract has them, to the microsecond."""
    microseconds = round(max(0.0, seconds) * 1e6)
    return Duration(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def _alternative(hypothesis: Hypothesis, settings: Settings) -> pb.SpeechRecognitionAlternative:
    words = []
    if settings.word_times or settings.word_confidence:
        for word in hypothesis.words:
            info = pb.WordInfo(word=word.word)
            if settings.word_times:
                info.start_time.CopyFrom(duration(word.start_s))
                info.end_time.CopyFrom(duration(word.end_s))
            if settings.word_confidence:
                info.confidence = word.confidence
            words.append(info)
    return pb.SpeechRecognitionAlternative(
        transcript=hypothesis.text,
        confidence=hypothesis.confidence,
        words=words,
        written=settings.written(hypothesis.text) if settings.written and hypothesis.text else "",
    )


def _written_form() -> Callable[[str], str]:
    try:
        from asr.corpus.text import written_form

        written_form("one")  # loads its grammars, or says what is missing
    except (ImportError, MissingDependencyError) as error:
        raise MissingDependencyError(
            "this server cannot make written forms; leave enable_written_form unset, "
            "or install dengar[train] where it runs"
        ) from error
    return written_form
