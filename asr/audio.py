"""Audio at the edge: whatever a phone, browser or corpus holds, in and out as mono float32 at 16 kHz.

Inside the system audio is always a one-dimensional float32 array in [-1, 1] at `SAMPLE_RATE_HZ`. This
module is the only place that knows file formats. libsndfile decodes the common ones; FFmpeg (through
PyAV) takes over for what phones and browsers send (WebM/Opus, AAC in MP4, G.722).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asr.errors import AudioError

SAMPLE_RATE_HZ = 16_000
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
MAX_CHANNELS = 2
MIN_DURATION_S = 0.05
MAX_DURATION_S = 3600.0
_LARGE_BYTES = 16_000_000
_UNKNOWN_RIFF_BYTES = 0x7FFF_0000  # programs that write WAV into a pipe declare this or more

Samples = npt.NDArray[np.float32]

PACKET_S = 0.1
"""Packets in which a phone sends speech."""

_ACCEPTED = (
    f"accepted: WAV, FLAC, MP3, Ogg/Opus, WebM, MP4/AAC, G.722; {MIN_RATE_HZ // 1000} to "
    f"{MAX_RATE_HZ // 1000} kHz; mono or stereo; {MIN_DURATION_S * 1000:.0f} ms to "
    f"{MAX_DURATION_S / 60:.0f} minutes"
)


def decode(data: bytes, name: str, *, max_duration_s: float = MAX_DURATION_S) -> Samples:
    """Decodes a whole file held in memory.

    Args:
        data: the file's bytes, in any accepted format.
        name: what to call it in errors (a path, a stream id).
        max_duration_s: longer audio is refused before it is decoded where the header tells.

    Returns:
        Samples of shape (T,), mono float32 in [-1, 1] at 16 kHz.

    Raises:
        AudioError: empty, not audio, truncated, NaN, or outside the accepted bounds.
    """
    if not data:
        raise AudioError(f"{name}: the file is empty; {_ACCEPTED}")
    samples, rate_hz = _decode_any(data, name, max_duration_s)
    return checked(to_mono_16k(samples, rate_hz, name), name, max_duration_s=max_duration_s)


def load(path: str | Path, *, max_duration_s: float = MAX_DURATION_S) -> Samples:
    """Reads and decodes one file; see `decode`."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGE_BYTES:
            _refuse_large(path, max_duration_s)
        data = path.read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error
    return decode(data, str(path), max_duration_s=max_duration_s)


def packets(samples: Samples, packet_s: float = PACKET_S) -> Iterator[Samples]:
    """Cuts samples into packets of ``packet_s`` seconds, the last one shorter."""
    size = round(packet_s * SAMPLE_RATE_HZ)
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def save(path: str | Path, samples: Samples) -> None:
    """Writes 16-bit PCM in the format of the suffix (``.wav``, ``.flac``) or Ogg/Opus (``.opus``, ``.ogg``)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".opus", ".ogg"):
        soundfile.write(path, samples, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")


def to_mono_16k(samples: npt.NDArray[np.floating], rate_hz: int, name: str) -> Samples:
    """Averages channels and resamples to 16 kHz.

    Args:
        samples: shape (T,) or (T, channels).
        rate_hz: their sampling rate.
        name: what to call it in errors.
    """
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if channels > MAX_CHANNELS or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(f"{name}: found {channels} channels at {rate_hz} Hz; {_ACCEPTED}")
    with np.errstate(over="ignore", invalid="ignore"):  # not finite: `checked` refuses it
        mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    return np.ascontiguousarray(mono, dtype=np.float32)


def checked(samples: Samples, name: str, *, max_duration_s: float = MAX_DURATION_S) -> Samples:
    """Returns `samples` clipped to [-1, 1], or raises `AudioError` if length or values are impossible."""
    duration_s = len(samples) / SAMPLE_RATE_HZ
    if duration_s < MIN_DURATION_S:
        raise AudioError(f"{name}: {duration_s * 1000:.0f} ms is too short to hold a word; {_ACCEPTED}")
    if duration_s > max_duration_s:
        raise AudioError(f"{name}: {duration_s:.0f} s is longer than the limit of {max_duration_s:.0f} s")
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; write it again with finite values in [-1, 1]")
    return np.clip(samples, -1.0, 1.0)


def _decode_any(data: bytes, name: str, max_duration_s: float) -> tuple[npt.NDArray[np.float32], int]:
    missing = _missing_riff_bytes(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _refuse_header(file.channels, file.samplerate, file.frames / file.samplerate, name, max_duration_s)
            expected = file.frames
            samples = file.read(dtype="float32")
            rate_hz = int(file.samplerate)
    except soundfile.LibsndfileError:
        return _decode_ffmpeg(data, name, max_duration_s)
    if missing:
        raise AudioError(f"{name}: truncated, {missing} bytes fewer than its header says; send the whole file")
    # Ogg's headers count a few samples more than the codec delivers, so only a real loss is an error.
    if len(samples) < expected - MIN_DURATION_S * rate_hz:
        raise AudioError(f"{name}: truncated, {len(samples)} of {expected} samples could be read; send the whole file")
    return samples, rate_hz


def _decode_ffmpeg(data: bytes, name: str, max_duration_s: float) -> tuple[npt.NDArray[np.float32], int]:
    import av

    blocks: list[npt.NDArray[np.float32]] = []
    total, rate_hz = 0, 0
    format_name = "g722" if name.endswith((".g722", ".G722")) else None
    try:
        with av.open(io.BytesIO(data), "r", format=format_name) as container:
            stream = container.streams.audio[0] if container.streams.audio else None
            if stream is None or stream.codec_context is None:  # a codec that FFmpeg does not know
                raise AudioError(f"{name}: holds no audio stream that can be decoded; {_ACCEPTED}")
            rate_hz = int(stream.rate)
            _refuse_header(stream.channels, rate_hz, 0.0, name, max_duration_s)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
            for frame in container.decode(stream):
                for block in resampler.resample(frame):
                    array = block.to_ndarray()[0].astype(np.float32)
                    total += len(array)
                    if total > max_duration_s * rate_hz:
                        raise AudioError(f"{name}: longer than the limit of {max_duration_s:.0f} s")
                    blocks.append(array)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise AudioError(f"{name}: is not audio that can be decoded; {_ACCEPTED}") from error
    if not blocks:
        raise AudioError(f"{name}: holds no audio; {_ACCEPTED}")
    return cast("npt.NDArray[np.float32]", np.concatenate(blocks)), rate_hz


def _refuse_header(channels: int, rate_hz: int, duration_s: float, name: str, max_duration_s: float) -> None:
    """Refuses by the header alone, so that three hours of silence are never decoded."""
    if channels > MAX_CHANNELS or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(f"{name}: found {channels} channels at {rate_hz} Hz; {_ACCEPTED}")
    if duration_s > max_duration_s:
        raise AudioError(f"{name}: {duration_s:.0f} s is longer than the limit of {max_duration_s:.0f} s")


def _refuse_large(path: Path, max_duration_s: float) -> None:
    """Looks at a large file's header before the file is read into memory."""
    try:
        with soundfile.SoundFile(path) as file:
            _refuse_header(file.channels, file.samplerate, file.frames / file.samplerate, str(path), max_duration_s)
    except soundfile.LibsndfileError:
        return  # another format; FFmpeg counts while it decodes


def _missing_riff_bytes(data: bytes) -> int:
    """How many bytes a WAV lacks of what it declares; libsndfile would shorten it silently."""
    if data[:4] != b"RIFF":
        return 0
    declared = int.from_bytes(data[4:8], "little")
    return 0 if declared >= _UNKNOWN_RIFF_BYTES else max(0, declared + 8 - len(data))
