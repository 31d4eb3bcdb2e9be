"""Small recordings of a tone in every format that is accepted, and what once went wrong; written by ourselves.

``python tests/services/fuzz/seeds.py`` writes them to ``corpus/``; the tests read what stands there, so that a new
FFmpeg or libsndfile changes nothing. A file that begins with ``found-`` was an error once.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import soundfile

CORPUS = Path(__file__).parent / "corpus"
RATE_HZ = 16_000


def tone(seconds: float = 0.12, rate_hz: int = RATE_HZ, channels: int = 1) -> np.ndarray:
    """A quiet tone, float32 of shape (T, channels)."""
    time_s = np.arange(int(seconds * rate_hz))[:, None] / rate_hz
    return np.repeat(0.3 * np.sin(2 * np.pi * 440 * time_s), channels, axis=1).astype(np.float32)


def packed(samples: np.ndarray, rate_hz: int, container: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def opus_in(container: str, samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.rint(samples.T * 32767).astype(np.int16).copy(), "s16", "mono")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(block))
        output.mux(stream.encode(None))
    return file.getvalue()


def seeds() -> dict[str, bytes]:
    """The corpus, by file name."""
    square = np.sign(tone(0.03, 8000))
    loud = np.full((200, 2), 3e38, np.float32)
    wav = packed(tone(), RATE_HZ, "WAV", "PCM_16")
    return {
        "tone.wav": wav,
        "tone-24-bit-stereo.wav": packed(tone(0.05, 22_050, 2), 22_050, "WAV", "PCM_24"),
        "tone-float.wav": packed(tone(0.05), RATE_HZ, "WAV", "FLOAT"),
        "tone-mulaw.wav": packed(tone(), RATE_HZ, "WAV", "ULAW"),
        "tone-extensible.wav": packed(tone(0.06), RATE_HZ, "WAVEX", "PCM_16"),
        "tone.flac": packed(tone(), RATE_HZ, "FLAC"),
        "tone.ogg": opus_in("ogg", tone(0.2, 48_000)),
        "tone.webm": opus_in("webm", tone(0.2, 48_000)),
        "tone.mp3": packed(tone(0.2), RATE_HZ, "MP3"),
        "tone-vorbis.ogg": packed(tone(0.1), RATE_HZ, "OGG", "VORBIS"),
        # FFmpeg opens a file whose codec it does not know, and then had no decoder to ask for its rate.
        "found-unknown-codec.wav": wav[:20] + struct.pack("<H", 0x7A7A) + wav[22:400],
        # The resampler rings at steep edges of full scale, and the samples left [-1, 1].
        "found-steep-edges.wav": packed(square, 8000, "WAV", "FLOAT"),
        # The mean of two channels overflowed, with a warning.
        "found-loud-stereo.wav": packed(loud, RATE_HZ, "WAV", "FLOAT"),
    }


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for name, content in seeds().items():
        (CORPUS / name).write_bytes(content)
