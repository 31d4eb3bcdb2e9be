"""Speech codecs, run in memory: through libsndfile (G.711, GSM, MP3) and FFmpeg (Opus, AAC, G.722).

libsndfile's Opus always searches as hard as it can and is five times slower than FFmpeg's at low effort, which
is what telephones use. Every result is aligned with its input and has its length.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asr.audio import SAMPLE_RATE_HZ, Samples

TELEPHONE_RATE_HZ = 8_000
_MP3_DELAY = 1105
"""Samples by which LAME and the decoder delay where libsndfile does not take it out itself (576 + 529)."""
_AAC_DELAY = 1024
_G722_DELAY = 22


def fitted(samples: Samples, length: int) -> Samples:
    """Cuts, or pads with zeros at the end, to `length` samples, float32."""
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    return np.ascontiguousarray(samples[:length], dtype=np.float32)


def mulaw(samples: Samples) -> Samples:
    """G.711 mu-law at 8 kHz."""
    return _narrow(samples, "ULAW")


def gsm(samples: Samples) -> Samples:
    """GSM 06.10 full rate: 13 kbit/s at 8 kHz."""
    return _narrow(samples, "GSM610")


def mp3(samples: Samples, compression_level: float) -> Samples:
    """MP3 at a constant rate: about 160 kbit/s at `compression_level` 0, 56 at 0.7, 8 at 0.99."""
    coded = _through_libsndfile(samples, SAMPLE_RATE_HZ, "MP3", "MPEG_LAYER_III", compression_level)
    return fitted(coded[_MP3_DELAY:] if len(coded) > len(samples) else coded, len(samples))


def opus(samples: Samples, bit_rate: int) -> Samples:
    """Opus for speech, 20 ms frames, at `bit_rate` bit/s."""
    options = {"application": "voip", "compression_level": "0"}
    return _through_ffmpeg(samples, "libopus", "opus", bit_rate, options)


def aac(samples: Samples, bit_rate: int) -> Samples:
    """AAC at `bit_rate` bit/s, as in MP4 voice recordings."""
    return _through_ffmpeg(samples, "aac", "aac", bit_rate, {}, delay=_AAC_DELAY)


def g722(samples: Samples) -> Samples:
    """G.722, the wide-band telephone: 64 kbit/s."""
    return _through_ffmpeg(samples, "adpcm_g722", "adpcm_g722", None, {}, delay=_G722_DELAY)


def _narrow(samples: Samples, subtype: str) -> Samples:
    narrow = soxr.resample(samples, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    coded = _through_libsndfile(narrow, TELEPHONE_RATE_HZ, "WAV", subtype)
    return fitted(soxr.resample(coded, TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ), len(samples))


def _through_libsndfile(
    samples: Samples, rate_hz: int, container: str, subtype: str, compression_level: float | None = None
) -> Samples:
    buffer = io.BytesIO()
    mode = None if compression_level is None else "CONSTANT"
    soundfile.write(
        buffer,
        samples,
        rate_hz,
        format=container,
        subtype=subtype,
        compression_level=compression_level,
        bitrate_mode=mode,
    )
    buffer.seek(0)
    return np.asarray(soundfile.read(buffer, dtype="float32")[0])


def _through_ffmpeg(
    samples: Samples,
    encoder: str,
    decoder: str,
    bit_rate: int | None,
    options: dict[str, str],
    *,
    delay: int = 0,
) -> Samples:
    """Encodes and decodes packet by packet; `delay` is the codec's own, which the decoder does not take out."""
    encode: Any = av.CodecContext.create(encoder, "w")
    integer = encoder != "aac"
    encode.sample_rate, encode.layout, encode.format = SAMPLE_RATE_HZ, "mono", "s16" if integer else "fltp"
    encode.options, encode.thread_count = options, 1
    if bit_rate is not None:
        encode.bit_rate = bit_rate
    encode.open()
    decode: Any = av.CodecContext.create(decoder, "r")
    decode.sample_rate, decode.layout, decode.thread_count = SAMPLE_RATE_HZ, "mono", 1
    if encode.extradata:
        decode.extradata = encode.extradata
    size = encode.frame_size or 320
    padded = np.pad(samples, (0, -len(samples) % size))
    pcm: npt.NDArray[Any] = (padded * 32767.0).astype(np.int16) if integer else padded
    blocks: list[Samples] = []
    rate_hz = SAMPLE_RATE_HZ

    def receive(packets: list[Any]) -> None:
        nonlocal rate_hz
        for packet in packets:
            for decoded in decode.decode(packet):
                rate_hz = decoded.sample_rate
                block = decoded.to_ndarray().reshape(-1)
                blocks.append(block / np.float32(32768.0) if block.dtype == np.int16 else block)

    for start in range(0, len(pcm), size):
        frame = av.AudioFrame.from_ndarray(pcm[None, start : start + size], format=encode.format.name, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
        receive(encode.encode(frame))
    receive(encode.encode(None))
    receive([None])
    result = np.concatenate(blocks)
    if rate_hz != SAMPLE_RATE_HZ:
        result = soxr.resample(result, rate_hz, SAMPLE_RATE_HZ)
    return fitted(result[delay:], len(samples))
