"""Whatever a user hands in is decoded to mono 16 kHz or refused with one clear sentence."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import audio
from asr.errors import AudioError


def tone(seconds=1.0, rate_hz=16_000, frequency_hz=440.0, amplitude=0.3):
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def written(samples, rate_hz=16_000, file_format="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=file_format, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(samples, rate_hz, container_format, codec):
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate_hz, frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def frequency_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * audio.SAMPLE_RATE_HZ / len(samples)


@pytest.mark.parametrize(
    ("file_format", "subtype", "rate_hz"),
    [
        ("WAV", "PCM_16", 16_000),
        ("WAV", "PCM_24", 48_000),
        ("WAV", "FLOAT", 44_100),
        ("WAV", "ULAW", 8_000),
        ("FLAC", "PCM_16", 22_050),
        ("OGG", "OPUS", 48_000),
        ("OGG", "VORBIS", 32_000),
        ("MP3", "MPEG_LAYER_III", 24_000),
    ],
)
def test_what_libsndfile_reads_comes_out_at_16_khz(file_format, subtype, rate_hz):
    samples = audio.decode(written(tone(1.0, rate_hz), rate_hz, file_format, subtype), "tone")
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(len(samples) / audio.SAMPLE_RATE_HZ - 1.0) < 0.1
    assert abs(frequency_hz(samples[1000:-1000]) - 440) < 3
    assert 0.15 < np.abs(samples).max() < 0.5


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz", "name"),
    [
        ("webm", "libopus", 48_000, "speech.webm"),
        ("mp4", "aac", 44_100, "speech.m4a"),
        ("g722", "g722", 16_000, "speech.g722"),
    ],
)
def test_what_phones_and_browsers_send_is_read_too(container, codec, rate_hz, name):
    samples = audio.decode(by_ffmpeg(tone(1.0, rate_hz), rate_hz, container, codec), name)
    assert abs(len(samples) / audio.SAMPLE_RATE_HZ - 1.0) < 0.15
    assert abs(frequency_hz(samples[2000:-2000]) - 440) < 5


def test_stereo_is_averaged():
    left, right = tone(), -tone() * 0.5
    samples = audio.decode(written(np.stack([left, right], axis=1), subtype="FLOAT"), "stereo")
    np.testing.assert_allclose(samples, (left + right) / 2, atol=1e-6)


def test_silence_is_audio():
    samples = audio.decode(written(np.zeros(16_000, np.float32)), "silence")
    assert len(samples) == 16_000
    assert not samples.any()


def test_values_beyond_full_scale_are_clipped():
    samples = audio.decode(written(tone(amplitude=3.0), subtype="FLOAT"), "loud")
    assert np.abs(samples).max() == 1.0


def with_value(value):
    samples = tone()
    samples[500] = value
    return written(samples, subtype="FLOAT")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"this is not audio but a letter\n" * 40, "not audio", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(500), "no audio", id="picture"),
        pytest.param(written(np.zeros(0, np.float32)), "0 ms is too short", id="no samples"),
        pytest.param(written(tone(0.01)), "10 ms is too short", id="10 ms"),
        pytest.param(with_value(np.nan), "NaN", id="NaN"),
        pytest.param(with_value(np.inf), "NaN or infinite", id="infinite"),
        pytest.param(
            written(np.zeros((9600, 6)), 96_000, subtype="PCM_24"), "6 channels at 96000 Hz", id="6 channels at 96 kHz"
        ),
        pytest.param(written(tone(1.0, 96_000), 96_000), "1 channels at 96000 Hz", id="96 kHz"),
        pytest.param(written(tone(1.0, 4_000), 4_000), "at 4000 Hz", id="4 kHz"),
    ],
)
def test_refused_in_one_sentence_that_names_the_file(data, says):
    with pytest.raises(AudioError) as raised:
        audio.decode(data, "query-7.wav")
    assert str(raised.value).startswith("query-7.wav: ")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.02])
def test_a_truncated_flac_is_refused_not_shortened(kept):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 32_000).astype(np.float32)
    data = written(noise, file_format="FLAC", subtype="PCM_16")
    with pytest.raises(AudioError, match=r"half\.flac: (truncated|.*cannot be decoded|is not audio)"):
        audio.decode(data[: int(len(data) * kept)], "half.flac")


def test_a_truncated_wav_is_refused_not_shortened():
    data = written(tone(2.0))
    with pytest.raises(AudioError, match="truncated"):
        audio.decode(data[: len(data) // 2], "half.wav")


def test_a_wav_of_unknown_length_as_pipes_write_it_is_read():
    data = bytearray(written(tone(1.0)))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert len(audio.decode(bytes(data), "piped.wav")) == 16_000


def test_three_hours_are_refused_by_the_header(tmp_path):
    path = tmp_path / "meeting.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1, subtype="PCM_U8") as file:
        file.write(np.zeros(8_000))
    size = 3 * 3600 * 8_000
    header = bytearray(path.read_bytes()[:44])
    header[4:8], header[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(44 + size)  # a sparse file: three hours on paper
    with pytest.raises(AudioError, match="10800 s is longer than the limit of 3600 s"):
        audio.load(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(AudioError, match=r"absent\.wav: cannot be read \(No such file"):
        audio.load(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="cannot be read"):
        audio.load(tmp_path)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".opus"])
def test_saved_audio_reads_back(tmp_path, suffix):
    path = tmp_path / "folder" / f"tone{suffix}"
    audio.save(path, tone())
    samples = audio.load(path)
    assert len(samples) == 16_000
    if suffix != ".opus":
        np.testing.assert_allclose(samples, tone(), atol=1e-4)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3"]))
def test_any_bytes_are_audio_or_an_audio_error(data, start):
    try:
        samples = audio.decode(start + data, "upload")
    except AudioError as refused:
        samples, names = np.zeros(0), str(refused).startswith("upload")
    else:
        names = True
    assert names
    assert np.isfinite(samples).all()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(position=st.integers(0, 5000), value=st.integers(0, 255), file_format=st.sampled_from(["WAV", "FLAC", "OGG"]))
def test_a_damaged_file_is_audio_or_an_audio_error(position, value, file_format):
    data = bytearray(written(tone(0.5), file_format=file_format))
    data[position % len(data)] = value
    try:
        samples = audio.decode(bytes(data), "upload")
    except AudioError as refused:
        samples, names = np.zeros(0), str(refused).startswith("upload")
    else:
        names = True
    assert names
    assert np.isfinite(samples).all()
