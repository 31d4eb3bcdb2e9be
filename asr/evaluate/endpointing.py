"""How well speech is ended: delay, words cut off, streams that never end; by condition and corpus.

An endpointer is played the traces of `asr.evaluate.endpoint_traces`. A decision counts from the end of the packet in
which it fell, for no server knows sooner.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from asr.endpoint import EndpointConfig, Endpointer, Event
from asr.evaluate.differences import wilson
from asr.evaluate.endpoint_traces import Trace
from asr.evaluate.evaluation import Rate
from asr.voice_activity import FRAME, FRAME_S, VoiceActivity

Rule = Callable[[Trace], Event | None]
"""Gives the endpoint of a trace, if there is one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one recording was ended.

    Attributes:
        trace: the recording.
        event: the endpoint; None if there was none until the recording's tail was over.
        decided_s: end of the packet in which it fell.
    """

    trace: Trace
    event: Event | None
    decided_s: float | None

    @property
    def delay_s(self) -> float | None:
        """Seconds from the true end of speech to the decision; None without one."""
        return None if self.decided_s is None else self.decided_s - self.trace.end_s

    @property
    def words_lost(self) -> int:
        """Words that ended only after the endpoint."""
        return 0 if self.event is None else sum(end_s > self.event.time_s for end_s in self.trace.word_ends_s)


@dataclass(frozen=True, slots=True)
class EndpointSummary:
    """One rule on the recordings of one condition and corpus.

    Attributes:
        rule, condition, corpus: which; all corpora together are "all".
        recordings: how many.
        delay_median_s, delay_p95_s: endpoint delay of those that were ended by silence and not early.
        voice_lag_s: mean of it until voice activity and recogniser heard the last of the speaker.
        silence_s: mean of it from there to the decision.
        packet_s: mean of it from there to the packet's end.
        early: share ended before the last word was over, with its Wilson interval.
        words_lost: share of all words that ended after the decision.
        unended: share without an endpoint until the end of the tail.
        start_timeouts: share in which nobody was taken to speak.
    """

    rule: str
    condition: str
    corpus: str
    recordings: int
    delay_median_s: float | None
    delay_p95_s: float | None
    voice_lag_s: float | None
    silence_s: float | None
    packet_s: float | None
    early: Rate
    words_lost: float
    unended: float
    start_timeouts: float


def by_rules(config: EndpointConfig) -> Rule:
    """Dengar's own rules."""

    def rule(trace: Trace) -> Event | None:
        events = Endpointer(config).accept(np.array(trace.probabilities, np.float32), trace.evidence)
        return events[-1] if events and events[-1].kind == "endpoint" else None

    return rule


def by_voice(silence_s: float, config: EndpointConfig) -> Rule:
    """For comparison: a fixed silence of the voice activity alone, whatever was recognised."""

    def rule(trace: Trace) -> Event | None:
        voice, voice_s = False, None
        for frame, probability in enumerate(trace.probabilities, start=1):
            voice = probability >= (config.voice_off if voice else config.voice_on)
            now_s = frame * FRAME_S
            if voice:
                voice_s = now_s
            elif voice_s is not None and now_s - voice_s >= silence_s - 1e-9:
                return Event("endpoint", now_s, voice_s, "silence")
        return None

    return rule


def by_recogniser(silence_s: float) -> Rule:
    """For comparison: a fixed silence of the recogniser alone."""

    def rule(trace: Trace) -> Event | None:
        for known in trace.evidence:
            if known.words and known.silence_s >= silence_s - 1e-9:
                return Event("endpoint", known.at_s, known.speech_s, "silence")
        return None

    return rule


def play(traces: Iterable[Trace], rule: Rule, packet_ms: int) -> list[Outcome]:
    """Ends every recording by the rule."""
    outcomes = []
    for trace in traces:
        event = rule(trace)
        decided_s = None
        if event is not None:
            decided_s = min(trace.audio_s, math.ceil(event.time_s * 1000 / packet_ms - 1e-6) * packet_ms / 1000)
        outcomes.append(Outcome(trace, event, decided_s))
    return outcomes


def summarise(name: str, outcomes: Sequence[Outcome]) -> list[EndpointSummary]:
    """By condition, of each corpus and of all together where there are several."""
    rows = []
    for condition in dict.fromkeys(outcome.trace.condition for outcome in outcomes):
        here = [outcome for outcome in outcomes if outcome.trace.condition == condition]
        corpora = list(dict.fromkeys(outcome.trace.corpus for outcome in here))
        for corpus in corpora:
            chosen = [outcome for outcome in here if outcome.trace.corpus == corpus]
            rows.append(_summary(name, condition, corpus, chosen))
        if len(corpora) > 1:
            rows.append(_summary(name, condition, "all", here))
    return rows


def voice_cost(voice: VoiceActivity, streams: int, *, frames: int = 200, rounds: int = 3) -> float:
    """Processor seconds of voice activity per second of audio, with so many streams in step; the fastest round."""
    audio = np.random.default_rng(0).normal(0, 0.1, (frames, streams, FRAME)).astype(np.float32)
    costs = []
    for _ in range(rounds):
        state = voice.initial_state(streams)
        started = time.thread_time()
        for samples in audio:
            state = voice.step(samples, state)[1]
        costs.append(time.thread_time() - started)
    return min(costs) / (frames * streams * FRAME_S)


def _summary(rule: str, condition: str, corpus: str, outcomes: Sequence[Outcome]) -> EndpointSummary:
    ended = [o for o in outcomes if o.event and o.event.reason == "silence"]
    parts = np.array(
        [
            (
                o.delay_s,
                o.event.speech_s - o.trace.end_s,
                o.event.time_s - o.event.speech_s,
                o.decided_s - o.event.time_s,
            )
            for o in ended
            if o.event and o.event.speech_s is not None and o.decided_s is not None and not o.words_lost
        ],
        dtype=np.float64,
    ).reshape(-1, 4)
    count, words = len(outcomes), sum(len(o.trace.word_ends_s) for o in outcomes)
    median, p95 = np.percentile(parts[:, 0], [50, 95]).tolist() if len(parts) else (None, None)
    lag, silence, packet = parts[:, 1:].mean(axis=0).tolist() if len(parts) else (None, None, None)
    return EndpointSummary(
        rule=rule,
        condition=condition,
        corpus=corpus,
        recordings=count,
        delay_median_s=median,
        delay_p95_s=p95,
        voice_lag_s=lag,
        silence_s=silence,
        packet_s=packet,
        early=wilson(sum(o.words_lost > 0 for o in outcomes), count),
        words_lost=sum(o.words_lost for o in outcomes) / words,
        unended=sum(o.event is None or o.event.reason == "too long" for o in outcomes) / count,
        start_timeouts=sum(o.event is not None and o.event.reason == "no speech" for o in outcomes) / count,
    )
