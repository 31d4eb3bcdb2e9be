"""Endpointing: when a speaker begins, pauses and is done, from voice activity and what the recogniser heard.

The two complete each other. Voice activity is quick, but takes music and other people for the speaker and misses
quiet words in noise. The recogniser knows words from noise, and whether they sound complete, but hears in chunks:
it lags by up to its look-ahead. So the silence that counts is the time since both last heard something; how long it
has to be depends on the words; and where the voice activity never falls, the recogniser's silence is enough.

Everything happens at the end of a frame of voice activity and depends on positions in the audio alone, not on the clock
or on packets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from asr import features
from asr.audio import SAMPLE_RATE_HZ
from asr.engine import Geometry
from asr.features import HOP, WINDOW
from asr.voice_activity import FRAME_S

if TYPE_CHECKING:
    from asr.decode.lm import LanguageModel

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1)]
LogProbability = Annotated[float, Field(le=0, allow_inf_nan=False)]

Reason = Literal["silence", "no speech", "too long"]

_GRACE_S = 1.0
"""Who begins to speak just before the start timeout is listened to for so long."""

_TRAIL_S = 0.1
"""Voice activity falls so long after the last sound: the recogniser has heard the words when it has come so close."""


@dataclass(frozen=True, config={"extra": "forbid"})
class EndpointConfig:
    """When a stream ends by itself; times count in audio.

    Attributes:
        start_timeout_s: without a word for so long, nobody is taken to speak.
        silence_s: silence after speech that ends it, where the words say nothing about it.
        complete_silence_s: the same after words that sound complete.
        open_silence_s: the same after words that sound as if more were to come.
        recogniser_silence_s: silence in the recogniser that ends speech although there is voice activity (music).
        max_s: audio after which the stream ends, whoever still speaks.
        voice_on, voice_off: a voice begins when its probability reaches the one, and lasts until it falls below the
            other.
        begin_s: for so long the probability must stay up.
        pause_s: silence after which a speaker is reported to have stopped speaking.
        complete_log_prob, open_log_prob: words sound complete if the natural log of the language model's probability
            that a sentence ends behind them is at least the one, and open if it is below the other.
    """

    start_timeout_s: Seconds = 5.0
    silence_s: Seconds = 0.6
    complete_silence_s: Seconds = 0.4
    open_silence_s: Seconds = 1.2
    recogniser_silence_s: Seconds = 1.6
    max_s: Seconds = 30.0
    voice_on: Probability = 0.5
    voice_off: Probability = 0.45
    begin_s: Seconds = 0.064
    pause_s: Seconds = 0.3
    complete_log_prob: LogProbability = -3.25
    open_log_prob: LogProbability = -4.25

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for less, more in (
            ("voice_off", "voice_on"),
            ("complete_silence_s", "silence_s"),
            ("silence_s", "open_silence_s"),
            ("open_silence_s", "recogniser_silence_s"),
            ("open_log_prob", "complete_log_prob"),
            ("start_timeout_s", "max_s"),
        ):
            if getattr(self, less) > getattr(self, more):
                raise ValueError(f"{less} must not exceed {more}")
        return self

    def with_request(
        self, start_timeout_s: float | None = None, silence_s: float | None = None, max_s: float | None = None
    ) -> EndpointConfig:
        """What a request asks for in place of the server's own; a silence asked for counts whatever the words.

        Raises:
            ConfigError: a time that is not positive or too long, or a start timeout beyond the maximal length.
        """
        from asr.config import config_to_json, make_config

        values = config_to_json(self)
        if silence_s is not None:
            values |= dict.fromkeys(("silence_s", "complete_silence_s", "open_silence_s"), silence_s)
            values["recogniser_silence_s"] = max(silence_s, self.recogniser_silence_s)
        if max_s is not None:
            values |= {"max_s": max_s, "start_timeout_s": min(max_s, self.start_timeout_s)}
        if start_timeout_s is not None:
            values["start_timeout_s"] = start_timeout_s
        return make_config(EndpointConfig, values, "endpointing")


@plain_dataclass(frozen=True, slots=True)
class Evidence:
    """What the recogniser knows after a step of its model.

    Attributes:
        at_s: position in the audio at which it could know.
        heard_s: audio that it has decoded, at most `at_s`.
        silence_s: seconds since its last spoken token, `heard_s` if there was none.
        words: how many it has recognised.
        end_log_prob: natural log of the probability that a sentence ends behind them; None if unknown.
    """

    at_s: float
    heard_s: float
    silence_s: float
    words: int
    end_log_prob: float | None = None

    @property
    def speech_s(self) -> float | None:
        """The end of the last spoken token; None before the first word."""
        return self.heard_s - self.silence_s if self.words else None


def evidence(
    geometry: Geometry, heard_s: float, silence_s: float, text: str, lm: LanguageModel | None = None
) -> Evidence:
    """What a recogniser knows whose decoder has decoded `heard_s` seconds, as soon as it could.

    Args:
        geometry: of its model.
        heard_s: the decoder's `duration_s`.
        silence_s: its `trailing_silence_s`.
        text: the best reading so far.
        lm: judges whether it sounds complete.
    """
    ahead_s = geometry.delay_frames * geometry.frame_s + geometry.after * features.FRAME_S
    at_s = heard_s + ahead_s + (WINDOW / 2 - HOP) / SAMPLE_RATE_HZ
    return Evidence(at_s, heard_s, silence_s, len(text.split()), end_log_prob(lm, text) if lm else None)


def end_log_prob(lm: LanguageModel, text: str) -> float:
    """The natural log of the probability that a sentence ends behind the words of `text`."""
    state = lm.start()
    for word in text.split():
        state = lm.score(state, word)[1]
    return lm.end(state)


@plain_dataclass(frozen=True, slots=True)
class Event:
    """Something that was noticed.

    Attributes:
        kind: the speaker begins, pauses, or is done: "speech begin", "speech end", "endpoint".
        time_s: position in the audio at which it was noticed.
        speech_s: where speech began or, as far as is known, ended; None if there was none.
        reason: of an endpoint.
    """

    kind: Literal["speech begin", "speech end", "endpoint"]
    time_s: float
    speech_s: float | None
    reason: Reason | None = None


class Endpointer:
    """The rules for one stream.

    A stream begins and pauses in turns; after an endpoint nothing more is noticed.

    Args:
        config: the settings.
        ends: whether there is to be an endpoint; without, beginnings and pauses are noticed for ever.
    """

    def __init__(self, config: EndpointConfig, *, ends: bool = True) -> None:
        self._config, self._ends = config, ends
        self._frames = 0
        self._waiting: deque[Evidence] = deque()
        self._evidence = Evidence(0.0, 0.0, 0.0, 0)
        self._up_frames = 0
        self._voice = False
        self._voice_began_s = 0.0
        self._voice_s: float | None = None
        self._judged_s = config.start_timeout_s
        self._speaking = False
        self._done = False

    @property
    def done(self) -> bool:
        """Whether the endpoint has come."""
        return self._done

    def accept(self, probabilities: npt.NDArray[np.float32], evidence: Iterable[Evidence] = ()) -> list[Event]:
        """Takes what is new; returns what it shows.

        Args:
            probabilities: of voice in the next frames, shape (t,), t may be 0.
            evidence: of the recogniser's next steps, each at the latest with the first frame that ends at or after its
                `at_s`.
        """
        self._waiting.extend(evidence)
        events: list[Event] = []
        for probability in probabilities.tolist():
            if self._done:
                break
            self._frames += 1
            now_s = self._frames * FRAME_S
            while self._waiting and self._waiting[0].at_s <= now_s:
                self._evidence = self._waiting.popleft()
            self._hear(probability, now_s)
            events += self._activity(now_s)
            reason = self._reason(now_s) if self._ends else None
            if reason:
                events += self._end(reason, now_s)
        return events

    def _hear(self, probability: float, now_s: float) -> None:
        """Voice activity with hysteresis."""
        config = self._config
        self._up_frames = self._up_frames + 1 if probability >= config.voice_on else 0
        if self._voice:
            self._voice = probability >= config.voice_off
        elif self._up_frames and self._up_frames * FRAME_S >= config.begin_s - FRAME_S / 2:
            self._voice = True
            self._voice_began_s = now_s - self._up_frames * FRAME_S
        if self._voice:
            self._voice_s = now_s

    @property
    def _speech_s(self) -> float | None:
        """Where something was last heard."""
        heard = [second for second in (self._voice_s, self._evidence.speech_s) if second is not None]
        return max(heard, default=None)

    def _activity(self, now_s: float) -> list[Event]:
        speech_s = self._speech_s
        silent = speech_s is None or now_s - speech_s >= self._config.pause_s - 1e-9
        if self._speaking == (not silent):
            return []
        self._speaking = not silent
        if silent:
            return [Event("speech end", now_s, speech_s)]
        return [Event("speech begin", now_s, self._voice_began_s if self._voice else speech_s)]

    def _reason(self, now_s: float) -> Reason | None:
        config, known = self._config, self._evidence
        if now_s >= config.max_s - 1e-9:
            return "too long"
        if not known.words:
            return "no speech" if self._nobody(now_s) else None
        if known.silence_s >= config.recogniser_silence_s - 1e-9:
            return "silence"
        assert self._speech_s is not None
        return "silence" if now_s - self._speech_s >= self._silence_s() - 1e-9 else None

    def _nobody(self, now_s: float) -> bool:
        """Whether the start timeout is over without a word, also in what only the voice activity has heard yet."""
        config, heard_s = self._config, self._evidence.heard_s
        if now_s < config.start_timeout_s - 1e-9:
            if self._voice:
                self._judged_s = max(config.start_timeout_s, self._voice_began_s + _GRACE_S)
            return False
        unheard = self._voice_s is not None and self._voice_s > heard_s
        return not unheard or heard_s >= self._judged_s

    def _silence_s(self) -> float:
        """How much silence ends the words heard so far."""
        config, known = self._config, self._evidence
        unheard = self._voice_s is not None and known.heard_s < self._voice_s - _TRAIL_S
        if unheard or known.end_log_prob is None:
            return config.silence_s
        if known.end_log_prob >= config.complete_log_prob:
            return config.complete_silence_s
        return config.open_silence_s if known.end_log_prob < config.open_log_prob else config.silence_s

    def _end(self, reason: Reason, now_s: float) -> list[Event]:
        self._done = True
        speech_s = self._speech_s if reason != "no speech" else None
        pause = [Event("speech end", now_s, speech_s)] if self._speaking else []
        self._speaking = False
        return [*pause, Event("endpoint", now_s, speech_s, reason)]
