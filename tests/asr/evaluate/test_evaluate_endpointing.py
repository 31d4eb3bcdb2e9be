import numpy as np
import pytest
import soundfile

from asr.corpus.manifest import Problem, Utterance, read_manifest, write_manifest
from asr.endpoint import EndpointConfig, Endpointer, Event, Evidence
from asr.errors import ManifestError
from asr.evaluate.endpoint_figure import draw
from asr.evaluate.endpoint_traces import (
    Trace,
    TraceConfig,
    all_evidence,
    background,
    hear,
    is_traces,
    read_traces,
    write_traces,
)
from asr.evaluate.endpointing import by_recogniser, by_rules, by_voice, play, summarise
from asr.evaluate.run import RunConfig
from asr.recognize import Recognizer
from asr.synth import of_engine, open_engine, trim_silence
from asr.voice_activity import FRAME_S, VoiceActivity, VoiceStream

RATE_HZ = 16_000
TEXT = "find the nearest petrol station"


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    """The shipped bundle."""
    return Recognizer.open()


@pytest.fixture(scope="module")
def voice() -> VoiceActivity:
    return VoiceActivity()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return trim_silence(open_engine("espeak").speak(TEXT, of_engine("espeak", "test")[0]))


def events(recognizer: Recognizer, voice: VoiceActivity, samples: np.ndarray, config: EndpointConfig) -> list[Event]:
    return Endpointer(config).accept(VoiceStream(voice).accept(samples), all_evidence(recognizer, samples))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def noise(seconds: float, level: float = 0.01) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, int(seconds * RATE_HZ)).astype(np.float32)


@pytest.fixture(scope="module")
def traces(recognizer, voice, speech, tmp_path_factory) -> list[Trace | Problem]:
    folder = tmp_path_factory.mktemp("endpointing")
    soundfile.write(folder / "query.wav", speech, RATE_HZ)
    soundfile.write(folder / "nothing.wav", speech[:4000], RATE_HZ)
    seconds = len(speech) / RATE_HZ
    write_manifest(
        folder / "queries.jsonl",
        [
            Utterance("query.wav", seconds, TEXT, id="query", corpus="espeak"),
            Utterance("nothing.wav", 0.25, "", id="nothing", corpus="espeak"),
        ],
    )
    config = TraceConfig(run=RunConfig(snr_db=(None, 10.0)), tail_s=3.0)
    return list(hear(recognizer, voice, [read_manifest(folder / "queries.jsonl")], config))


def test_the_true_end_is_where_the_sound_ends(traces, speech) -> None:
    assert [(trace.id, trace.condition) for trace in traces[:2]] == [("query", "clean"), ("query", "cabin 10 dB")]
    assert isinstance(traces[2], Problem)
    assert "text is empty" in traces[2].reason
    power = np.square(speech[: len(speech) // 160 * 160].reshape(-1, 160)).mean(axis=1)
    loud_s = 0.01 * (np.flatnonzero(power > 1e-3 * power.max())[-1] + 1)
    for trace in traces[:2]:
        assert len(trace.word_ends_s) == 5
        assert trace.end_s == pytest.approx(loud_s, abs=0.15)
        assert trace.audio_s == pytest.approx(len(speech) / RATE_HZ + 3.0)
        assert len(trace.probabilities) == int(trace.audio_s / FRAME_S)


def test_a_query_is_ended_soon_and_not_early(traces) -> None:
    for outcome in play(traces[:2], by_rules(EndpointConfig()), packet_ms=100):
        assert outcome.event.reason == "silence"
        assert outcome.words_lost == 0
        assert 0.3 < outcome.delay_s < 1.5


def test_silence_and_noise_are_no_speech(recognizer, voice) -> None:
    config = EndpointConfig(start_timeout_s=2.0)
    for samples in (silence(4.0), noise(4.0)):
        (found,) = events(recognizer, voice, samples, config)
        assert (found.reason, found.time_s) == ("no speech", pytest.approx(2.0, abs=FRAME_S))


def test_a_pause_in_the_middle_is_no_end(recognizer, voice, speech) -> None:
    samples = np.concatenate([speech, silence(0.5), speech, silence(2.5)])
    found = events(recognizer, voice, samples, EndpointConfig().with_request(silence_s=0.9))
    assert [event.kind for event in found] == ["speech begin", "speech end"] * 2 + ["endpoint"]
    assert found[-1].speech_s == pytest.approx((2 * len(speech)) / RATE_HZ + 0.5, abs=0.3)
    assert events(recognizer, voice, samples, EndpointConfig().with_request(silence_s=0.2))[-1].time_s < 2.5


def test_evidence_is_what_a_stream_knows_after_each_step(tiny_bundle) -> None:
    recognizer = Recognizer.open(tiny_bundle)
    samples = noise(2.5, level=0.1)
    stream, known, start = recognizer.stream(), [], 0
    while start + stream.missing_samples <= len(samples):
        end = start + stream.missing_samples
        stream.accept(samples[start:end])
        start = end
        known.append((stream.duration_s, stream.trailing_silence_s, len(stream.partial().hypothesis.words)))
    found = [(each.at_s, each.silence_s, each.words) for each in all_evidence(recognizer, samples)]
    assert len(found) > 5
    assert found == [(pytest.approx(at_s), pytest.approx(silence_s), words) for at_s, silence_s, words in known]


def test_the_background_goes_on_as_it_was() -> None:
    rng = np.random.default_rng(5)
    quiet = np.convolve(rng.normal(0, 0.01, RATE_HZ), np.ones(4) / 4, mode="same").astype(np.float32)
    loud = rng.normal(0, 0.3, RATE_HZ).astype(np.float32)
    found = background(np.concatenate([loud, quiet, loud]), 2 * RATE_HZ, rng)
    assert found.shape == (2 * RATE_HZ,)

    def bands(samples: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(samples)) ** 2 / len(samples)
        return 10 * np.log10([part.mean() for part in np.array_split(power, 4)])

    np.testing.assert_allclose(bands(found)[:2], bands(quiet)[:2], atol=2.0)
    assert not background(np.zeros(100, np.float32), 50, rng).any()


def made_up(name: str, end_s: float, voice_end_s: float, step_s: float = 0.5) -> Trace:
    frames = int(6.0 / FRAME_S)
    probabilities = tuple(0.9 if (frame + 1) * FRAME_S <= voice_end_s else 0.0 for frame in range(frames))
    steps = [step_s * k for k in range(1, int(6.0 / step_s) + 1)]
    evidence = tuple(Evidence(s, s, max(0.0, s - end_s), 1, None) for s in steps)
    return Trace(name, "made up", "tune", "clean", (0.5, end_s), 6.0, probabilities, evidence)


def test_delays_and_words_lost_are_counted() -> None:
    config = EndpointConfig()
    good, cut = made_up("good", 2.0, 2.016), made_up("cut", 3.0, 1.0)
    (row,) = summarise("voice", play([good, cut], by_voice(0.5, config), packet_ms=100))
    assert (row.recordings, row.early.value, row.words_lost) == (2, 0.5, 0.25)
    assert (
        row.delay_median_s == row.delay_p95_s == pytest.approx(0.6)
    )  # 2.016 + 0.512 is in the packet that ends at 2.6
    assert row.voice_lag_s + row.silence_s + row.packet_s == pytest.approx(row.delay_median_s)
    assert row.early.low < 0.5 < row.early.high
    (row,) = summarise("recogniser", play([good, cut], by_recogniser(0.8), packet_ms=100))
    assert (row.early.value, row.unended, row.delay_median_s) == (0.0, 0.0, pytest.approx(1.0))
    endless = made_up("endless", 5.9, 6.0)
    (row,) = summarise("rules", play([endless], by_rules(config), packet_ms=100))
    assert (row.unended, row.start_timeouts, row.delay_median_s) == (1.0, 0.0, None)


def test_traces_are_kept_and_read_again(tmp_path, traces) -> None:
    path = tmp_path / "traces.jsonl"
    write_traces(path, traces[:2])
    assert is_traces(path)
    assert read_traces(path) == traces[:2]
    path.write_text('{"audio_filepath": "a.wav", "duration": 1, "text": "probabilities"}\n')
    assert not is_traces(path)
    with pytest.raises(ManifestError, match="traces"):
        read_traces(path)


def test_the_figure_is_drawn_the_same_every_time(traces) -> None:
    svg = draw(traces[0], EndpointConfig())
    assert svg == draw(traces[0], EndpointConfig())
    assert "last word ends" in svg
