"""Decoding incoming audio: exact whatever the packets, equal to independent decoders, bounded."""

from __future__ import annotations

import io
import itertools
import threading

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import to_mono_16k
from asr.errors import AudioError, ConfigError
from services.recognizer.audio_in import AudioLimitError, StreamDecoder

RATE_HZ = 16_000
PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)


def noise(seconds: float, rate_hz: int = RATE_HZ, channels: int = 1) -> np.ndarray:
    """Int16 samples of shape (T, channels)."""
    rng = np.random.default_rng(5)
    time_s = np.arange(int(seconds * rate_hz))[:, None] / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * 440 * time_s)
    return np.rint((tone + 0.02 * rng.standard_normal((len(time_s), channels))) * 32767).astype(np.int16)


def packed(samples: np.ndarray, rate_hz: int, container: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def opus_in(container: str, samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(block))
        output.mux(stream.encode(None))
    return file.getvalue()


def decode(data: bytes, encoding: str, rate_hz: int = 0, channels: int = 1, cuts: list[int] | None = None, **limits):
    decoder = StreamDecoder(encoding, rate_hz, channels, limits.get("max_duration_s", 60.0))
    edges = [0, *sorted(cuts or []), len(data)]
    try:
        pieces = [decoder.feed(data[start:end]) for start, end in itertools.pairwise(edges)]
        return np.concatenate([*pieces, decoder.finish()])
    finally:
        decoder.close()


def decoder_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "container-decoder"]


RAW = noise(0.2, channels=2)


@PROPERTY
@given(st.lists(st.integers(0, RAW.nbytes), max_size=12), st.sampled_from([8000, 11_025, 16_000, 44_100, 48_000]))
def test_raw_stereo_samples_are_the_same_however_the_bytes_are_cut(cuts: list[int], rate_hz: int) -> None:
    samples = decode(RAW.tobytes(), "LINEAR16", rate_hz, 2, cuts)
    expected = to_mono_16k(RAW.astype(np.float32) / 32768, rate_hz, "oracle")
    np.testing.assert_array_equal(samples, expected)


WAV24 = packed(noise(0.2), 22_050, "WAV", "PCM_24")


@PROPERTY
@given(st.lists(st.integers(0, len(WAV24)), max_size=8))
def test_wav_header_may_be_cut_anywhere(cuts: list[int]) -> None:
    oracle, rate_hz = soundfile.read(io.BytesIO(WAV24), dtype="float32")
    expected = soxr.resample(oracle, rate_hz, RATE_HZ)
    np.testing.assert_array_equal(decode(WAV24, "LINEAR16", cuts=cuts), expected)


CONTAINERS = {
    "FLAC": packed(noise(0.6), RATE_HZ, "FLAC"),
    "OGG_OPUS": opus_in("ogg", noise(0.6)),
    "WEBM_OPUS": opus_in("webm", noise(0.6)),
    "MP3": packed(noise(0.6), RATE_HZ, "MP3"),
}


@pytest.mark.parametrize("encoding", CONTAINERS)
@settings(derandomize=True, deadline=None, max_examples=12)
@given(data=st.data())
def test_container_samples_are_the_same_however_the_bytes_are_cut(encoding: str, data: st.DataObject) -> None:
    content = CONTAINERS[encoding]
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=20))
    whole = decode(content, encoding)
    np.testing.assert_array_equal(decode(content, encoding, cuts=cuts), whole)
    np.testing.assert_array_equal(decode(content, "ENCODING_UNSPECIFIED", cuts=cuts), whole)
    assert not decoder_threads()


@pytest.mark.parametrize("encoding", CONTAINERS)
def test_containers_hold_what_was_put_in(encoding: str) -> None:
    samples = decode(CONTAINERS[encoding], encoding)
    original = noise(0.6)[:, 0].astype(np.float32) / 32768
    assert len(samples) == pytest.approx(len(original), abs=0.15 * RATE_HZ)
    spectrum = np.abs(np.fft.rfft(samples[2000:8000] * np.hanning(6000)))
    assert np.argmax(spectrum) * RATE_HZ / 6000 == pytest.approx(440, abs=3)
    assert np.std(samples[2000:8000]) == pytest.approx(np.std(original), rel=0.1)
    if encoding == "FLAC":
        np.testing.assert_array_equal(samples, original)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW"])
def test_wav_subtypes_agree_with_libsndfile(subtype: str) -> None:
    content = packed(noise(0.1, channels=2) / 32768, RATE_HZ, "WAV", subtype)
    oracle = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    np.testing.assert_allclose(decode(content, "LINEAR16"), oracle.mean(axis=1), atol=1e-7)


def test_mulaw_agrees_with_libsndfile_for_every_code() -> None:
    codes = bytes(range(256)) * 4
    oracle, _ = soundfile.read(
        io.BytesIO(codes), samplerate=RATE_HZ, channels=1, format="RAW", subtype="ULAW", dtype="float32"
    )
    np.testing.assert_array_equal(decode(codes, "MULAW", RATE_HZ, cuts=[1, 100]), oracle)


def test_wav_of_unknown_length_and_bytes_after_the_samples() -> None:
    samples = noise(0.1)
    content = bytearray(packed(samples, RATE_HZ, "WAV"))
    assert len(decode(bytes(content) + b"LIST\x04\0\0\0abcd", "LINEAR16")) == len(samples)
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    assert len(decode(bytes(content), "LINEAR16")) == len(samples)


def test_a_half_sample_at_the_end_is_not_heard() -> None:
    assert len(decode(noise(0.1).tobytes() + b"\x01", "LINEAR16", RATE_HZ)) == 1600


FLAC = CONTAINERS["FLAC"]
WAV = packed(noise(0.5), RATE_HZ, "WAV")
NAN = packed(np.full(1600, np.nan, np.float32), RATE_HZ, "WAV", "FLOAT")
GARBAGE = np.random.default_rng(1).integers(0, 256, 30_000, dtype=np.uint8).tobytes()


@pytest.mark.parametrize(
    ("data", "encoding", "rate_hz", "says"),
    [
        (b"", "LINEAR16", RATE_HZ, "without audio"),
        (FLAC[: len(FLAC) // 2], "FLAC", 0, "truncated|ends in the middle"),
        (FLAC[:30], "FLAC", 0, "cannot be decoded as FLAC"),
        (WAV[:5000], "LINEAR16", 0, "truncated"),
        (WAV[:30], "LINEAR16", 0, "within its header"),
        (NAN, "LINEAR16", 0, "NaN"),
        (GARBAGE, "FLAC", 0, "cannot be decoded as FLAC"),
        (GARBAGE, "MP3", 0, "cannot be decoded as MP3"),
        (GARBAGE, "OGG_OPUS", 0, "cannot be decoded as OGG_OPUS"),
        (GARBAGE, "WEBM_OPUS", 0, "cannot be decoded as WEBM_OPUS"),
        (GARBAGE, "ENCODING_UNSPECIFIED", 0, "not to be seen"),
        (FLAC, "MP3", 0, "cannot be decoded as MP3"),
        (FLAC, "LINEAR16", RATE_HZ, "begins like FLAC"),
        (FLAC, "FLAC", 8000, "sample_rate_hertz is 8000 but the FLAC header says 16000"),
        (WAV, "LINEAR16", 8000, "sample_rate_hertz is 8000 but the WAV header says 16000"),
        (noise(0.1).tobytes(), "LINEAR16", 0, "needs sample_rate_hertz"),
        (packed(noise(0.1, 96_000, 6), 96_000, "WAV", "PCM_24"), "LINEAR16", 0, "6 channels at 96000 Hz"),
        (packed(noise(0.1), RATE_HZ, "OGG", "VORBIS"), "OGG_OPUS", 0, "OGG_OPUS"),
        (packed(noise(0.1), RATE_HZ, "WAV", "IMA_ADPCM"), "LINEAR16", 0, "accepted: PCM"),
    ],
)
def test_bad_audio_is_one_clear_error(data: bytes, encoding: str, rate_hz: int, says: str) -> None:
    with pytest.raises((AudioError, ConfigError), match=says) as caught:
        decode(data, encoding, rate_hz, cuts=list(range(0, len(data), 997)))
    assert "\n" not in str(caught.value)
    assert not decoder_threads()


@PROPERTY
@given(st.binary(max_size=3000), st.sampled_from(sorted(CONTAINERS)))
def test_any_bytes_give_samples_or_an_audio_error(tail: bytes, encoding: str) -> None:
    for data in (tail, CONTAINERS[encoding][:400] + tail):
        try:
            samples = decode(data, encoding)
        except AudioError:
            continue
        assert np.isfinite(samples).all()
        assert np.abs(samples).max(initial=0) <= 1


@PROPERTY
@given(st.binary(max_size=200))
def test_any_wav_header_gives_samples_or_an_error(tail: bytes) -> None:
    try:
        samples = decode(b"RIFF\0\0\0\0WAVE" + tail, "LINEAR16")
    except (AudioError, ConfigError):
        return
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 8000])
def test_audio_is_bounded_by_what_it_unpacks_to(rate_hz: int) -> None:
    silence = packed(np.zeros((40 * rate_hz, 1), np.int16), rate_hz, "FLAC")
    assert len(silence) < 40_000
    with pytest.raises(AudioLimitError, match="longer than the limit of 30 s"):
        decode(silence, "FLAC", max_duration_s=30.0)
    with pytest.raises(AudioLimitError):
        decode(bytes(2 * 31 * rate_hz), "LINEAR16", rate_hz, max_duration_s=30.0)


@pytest.mark.parametrize("encoding", sorted(CONTAINERS))
@pytest.mark.parametrize("start", [0, 3000])
def test_endless_bytes_without_audio_are_refused(encoding: str, start: int) -> None:
    decoder = StreamDecoder(encoding, 0, 1, 1.0)

    def pour() -> None:
        decoder.feed(CONTAINERS[encoding][:start])
        for _ in range(100):
            decoder.feed(bytes(65_536))

    with pytest.raises(AudioError):
        pour()
    decoder.close()


def test_closing_midway_ends_the_thread() -> None:
    decoder = StreamDecoder("MP3", 0, 1, 60.0)
    decoder.feed(CONTAINERS["MP3"][:2000])
    (thread,) = decoder_threads()
    decoder.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    decoder.close()


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "channels", "says"),
    [("AMR", 8000, 1, "unknown"), ("LINEAR16", 7999, 1, "sample_rate_hertz"), ("LINEAR16", 8000, 3, "channel")],
)
def test_settings_that_make_no_sense(encoding: str, rate_hz: int, channels: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        StreamDecoder(encoding, rate_hz, channels, 60.0)
