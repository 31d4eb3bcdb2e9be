"""The rules by themselves, on probabilities and evidence that are written down."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.endpoint import EndpointConfig, Endpointer, Event, Evidence
from asr.errors import ConfigError
from asr.voice_activity import FRAME_S

CHUNK_S = 0.6
SHORT = EndpointConfig(start_timeout_s=2.0, max_s=8.0)


def voice(*stretches: tuple[float, float]) -> np.ndarray:
    """Probabilities of stretches (seconds, probability)."""
    return np.concatenate([np.full(round(s / FRAME_S), p, np.float32) for s, p in stretches])


def recogniser(spoken: list[tuple[float, float]], until_s: float, end_log_prob: float | None = None) -> list[Evidence]:
    """Evidence after each chunk; one word for each stretch of speech (start, end) that it has heard a part of."""
    found = []
    for step in range(1, int(until_s / CHUNK_S) + 1):
        heard_s = step * CHUNK_S
        ends = [min(end, heard_s) for start, end in spoken if start < heard_s]
        silence_s = heard_s - ends[-1] if ends else heard_s
        found.append(Evidence(heard_s + 0.02, heard_s, silence_s, len(ends), end_log_prob if ends else -9.0))
    return found


def run(config: EndpointConfig, probabilities: np.ndarray, evidence: list[Evidence], **options: bool) -> list[Event]:
    return Endpointer(config, **options).accept(probabilities, evidence)


def endpoint(events: list[Event]) -> Event | None:
    return events[-1] if events and events[-1].kind == "endpoint" else None


def test_silence_after_words_ends() -> None:
    events = run(SHORT, voice((0.5, 0), (1.0, 0.9), (3.0, 0)), recogniser([(0.5, 1.5)], 4.0))
    assert [event.kind for event in events] == ["speech begin", "speech end", "endpoint"]
    assert events[0].speech_s == pytest.approx(0.5, abs=FRAME_S)
    assert events[-1].reason == "silence"
    assert events[-1].speech_s == pytest.approx(1.5, abs=FRAME_S)
    assert events[-1].time_s - events[-1].speech_s == pytest.approx(SHORT.silence_s, abs=FRAME_S)


@pytest.mark.parametrize(
    ("end_log_prob", "silence"),
    [(-0.5, "complete_silence_s"), (-3.75, "silence_s"), (-8.0, "open_silence_s"), (None, "silence_s")],
)
def test_words_say_how_much_silence_is_enough(end_log_prob: float | None, silence: str) -> None:
    config = EndpointConfig(complete_silence_s=0.7, silence_s=0.9, open_silence_s=1.3)
    found = endpoint(run(config, voice((1.5, 0.9), (3.0, 0)), recogniser([(0.0, 1.4)], 4.0, end_log_prob)))
    assert found
    assert found.time_s - found.speech_s == pytest.approx(getattr(config, silence), abs=FRAME_S)


def test_words_of_which_the_end_is_not_heard_yet_say_nothing() -> None:
    config = EndpointConfig(complete_silence_s=0.1, silence_s=0.3, open_silence_s=1.5)
    known = recogniser([(0.0, 1.2)], 1.8, -0.5)[:2]  # up to 1.2 s; the voice lasts until 1.6 s
    found = endpoint(run(config, voice((1.6, 0.9), (1.0, 0)), known))
    assert found
    assert found.time_s == pytest.approx(1.9, abs=FRAME_S)


def test_a_pause_shorter_than_the_silence_does_not_end() -> None:
    spoken = [(0.2, 1.2), (1.6, 2.6)]
    events = run(SHORT, voice((0.2, 0), (1.0, 0.9), (0.4, 0), (1.0, 0.9), (2.0, 0)), recogniser(spoken, 4.0))
    assert [event.kind for event in events] == ["speech begin", "speech end"] * 2 + ["endpoint"]
    assert endpoint(events).time_s > 2.6


def test_nobody_speaks() -> None:
    found = endpoint(run(SHORT, voice((5.0, 0)), recogniser([], 5.0)))
    assert (found.reason, found.speech_s) == ("no speech", None)
    assert found.time_s == pytest.approx(2.0, abs=FRAME_S)


def test_noise_that_the_voice_activity_takes_for_speech_is_no_speech() -> None:
    found = endpoint(run(SHORT, voice((0.5, 0), (0.5, 0.9), (4.0, 0)), recogniser([], 5.0)))
    assert found.reason == "no speech"
    assert found.time_s == pytest.approx(2.0, abs=FRAME_S)
    music = endpoint(run(SHORT, voice((7.0, 0.9)), recogniser([], 7.0)))
    assert music.reason == "no speech"
    assert 2.0 <= music.time_s <= 2.0 + CHUNK_S


def test_who_begins_just_before_the_timeout_is_heard_out() -> None:
    events = run(SHORT, voice((1.9, 0), (1.0, 0.9), (2.0, 0)), recogniser([(1.9, 2.9)], 4.8))
    assert endpoint(events).reason == "silence"


def test_music_under_a_voice_that_has_stopped_does_not_keep_a_stream_open() -> None:
    found = endpoint(run(SHORT, voice((7.0, 0.9)), recogniser([(0.0, 2.0)], 7.0)))
    assert found.reason == "silence"
    assert 2.0 + SHORT.recogniser_silence_s <= found.time_s <= 2.0 + SHORT.recogniser_silence_s + 2 * CHUNK_S


def test_words_that_the_voice_activity_misses_keep_a_stream_open() -> None:
    spoken = [(0.0, 3.0)]
    quiet = voice((0.6, 0.9), (4.0, 0.2))
    assert endpoint(run(EndpointConfig(silence_s=0.7, open_silence_s=0.8), quiet, recogniser(spoken, 4.6))).time_s > 3.4
    events = run(SHORT, voice((4.0, 0.1)), recogniser([(0.0, 1.5)], 4.0))
    assert [event.kind for event in events] == ["speech begin", "speech end", "endpoint"]


def test_too_long() -> None:
    found = endpoint(run(SHORT, voice((12.0, 0.9)), recogniser([(0.0, 12.0)], 12.0)))
    assert (found.reason, found.time_s) == ("too long", pytest.approx(8.0, abs=FRAME_S))


def test_without_ends_turns_are_noticed_for_ever() -> None:
    probabilities = np.concatenate([voice((1.0, 0.9), (1.0, 0.0))] * 6)
    events = run(SHORT, probabilities, recogniser([(2.0 * k, 2.0 * k + 1) for k in range(6)], 12.0), ends=False)
    assert [event.kind for event in events] == ["speech begin", "speech end"] * 6


seconds = st.floats(0.05, 3.0)
configs = st.builds(
    lambda silences, start, more, pause: EndpointConfig(
        **dict(zip(("complete_silence_s", "silence_s", "open_silence_s"), sorted(silences), strict=True)),
        recogniser_silence_s=max(1.6, *silences),
        start_timeout_s=start, max_s=start + more, pause_s=pause,
    ),
    st.tuples(seconds, seconds, seconds), seconds, seconds, st.floats(0.05, 1.0),
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> tuple[np.ndarray, list[Evidence]]:
    """Any voice activity and any recogniser, also ones that contradict each other."""
    levels = draw(
        st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.4, 0.9])), min_size=1, max_size=12)
    )
    probabilities = np.concatenate([np.full(n, p, np.float32) for n, p in levels])
    evidence, words, silence = [], 0, 0.0
    for step in range(1, int(len(probabilities) * FRAME_S / CHUNK_S) + 1):
        new = draw(st.integers(0, 2))
        words, silence = words + new, draw(st.floats(0, CHUNK_S)) if new else silence + CHUNK_S
        end = draw(st.floats(-9, 0))
        evidence.append(Evidence(step * CHUNK_S + 0.02, step * CHUNK_S, silence, words, end))
    return probabilities, evidence


@settings(max_examples=60)
@given(configs, streams(), st.lists(st.integers(0, 25), max_size=30))
def test_packets_do_not_matter(
    config: EndpointConfig, stream: tuple[np.ndarray, list[Evidence]], cuts: list[int]
) -> None:
    probabilities, evidence = stream
    whole = run(config, probabilities, evidence)
    endpointer, found, start, given_ = Endpointer(config), [], 0, 0
    for size in [*cuts, len(probabilities)]:
        part = probabilities[start : start + size]
        start += len(part)
        # As a server would: the recogniser has heard what has come, and part of a frame more.
        due = [known for known in evidence[given_:] if known.at_s <= (start + 0.9) * FRAME_S]
        given_ += len(due)
        found += endpointer.accept(part, due)
    assert found == whole
    assert endpointer.done == any(event.kind == "endpoint" for event in whole)


@settings(max_examples=100)
@given(configs, streams())
def test_events_take_turns_and_no_endpoint_comes_before_a_rule_allows(
    config: EndpointConfig, stream: tuple[np.ndarray, list[Evidence]]
) -> None:
    probabilities, evidence = stream
    events = run(config, probabilities, evidence)
    kinds = [event.kind for event in events if event.kind != "endpoint"]
    assert kinds == [kind for kind, _ in zip(itertools.cycle(["speech begin", "speech end"]), kinds, strict=False)]
    assert [event.time_s for event in events] == sorted(event.time_s for event in events)
    found = endpoint(events)
    assert [event.kind for event in events].count("endpoint") == (found is not None)
    if found is None:
        assert len(probabilities) * FRAME_S < config.max_s + FRAME_S
        return
    assert len(kinds) % 2 == 0
    known = [known for known in evidence if known.at_s <= found.time_s]
    words = known[-1].words if known else 0
    if found.reason == "too long":
        assert found.time_s >= config.max_s - 1e-6
    elif found.reason == "no speech":
        assert not words
        assert found.time_s >= config.start_timeout_s - 1e-6
    else:
        assert words
        shortest = min(config.complete_silence_s, config.recogniser_silence_s)
        assert found.time_s - known[-1].speech_s >= shortest - 1e-6
        if known[-1].silence_s < config.recogniser_silence_s - 1e-6:
            silent = round(config.complete_silence_s / FRAME_S - 0.5)
            last = round(found.time_s / FRAME_S)
            assert (probabilities[max(0, last - silent) : last] < config.voice_on).all()


def test_a_request_sets_its_own_times() -> None:
    own = EndpointConfig().with_request(start_timeout_s=3.0, silence_s=1.2, max_s=10.0)
    assert (own.start_timeout_s, own.complete_silence_s, own.silence_s, own.open_silence_s, own.max_s) == (
        3.0, 1.2, 1.2, 1.2, 10.0,
    )  # fmt: skip
    assert EndpointConfig().with_request() == EndpointConfig()
    assert EndpointConfig().with_request(max_s=2.0).start_timeout_s == 2.0
    for wrong in ({"silence_s": -1.0}, {"silence_s": float("nan")}, {"start_timeout_s": 9.0, "max_s": 5.0}):
        with pytest.raises(ConfigError, match="endpointing"):
            EndpointConfig().with_request(**wrong)
