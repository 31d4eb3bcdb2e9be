"""Audio as it comes in: packets of any size in any accepted encoding -> mono float32 at 16 kHz, bit by bit.

The bytes come from strangers. What they unpack to is bounded (`max_duration_s`), containers are read by a named
demuxer with a list of allowed codecs, and every refusal is one `AudioError`. However the bytes are cut
into packets, the samples are the same.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import soxr

from asr.audio import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, SAMPLE_RATE_HZ, Samples
from asr.errors import AudioError, ConfigError
from services.recognizer.pcm import PcmReader, WavHeader, WavHeaderReader

ENCODINGS = ("ENCODING_UNSPECIFIED", "LINEAR16", "FLAC", "MULAW", "OGG_OPUS", "MP3", "WEBM_OPUS")
_RAW = ("LINEAR16", "MULAW")
_MAGIC = {b"fLaC": "FLAC", b"OggS": "OGG_OPUS", b"\x1a\x45\xdf\xa3": "WEBM_OPUS"}
_MAGIC_BYTES = 12  # RIFF, size, WAVE
MAX_SILENT_BYTES = 4 * 2**20
"""Bytes that may come before the first sample: tags, pictures."""
_MAX_BYTES_PER_S = 48_000 * 2 * 4  # two channels of 32 bits; more is padding
NO_SAMPLES: Samples = np.zeros(0, np.float32)


class AudioLimitError(AudioError):
    """More audio than one call may send."""


class Normaliser:
    """Mixes to mono in [-1, 1], resamples to 16 kHz with memory, and bounds how much may come.

    Args:
        rate_hz: 8000 to 48000.
        channels: 1 or 2.
        max_duration_s: more audio raises `AudioLimitError`.

    Raises:
        AudioError: rate or channels out of range.
    """

    def __init__(self, rate_hz: int, channels: int, max_duration_s: float) -> None:
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ or not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(
                f"the audio has {channels} channels at {rate_hz} Hz; accepted: 1 or 2 channels at "
                f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
            )
        self.rate_hz, self.channels = rate_hz, channels
        self._max_duration_s = max_duration_s
        self._frames = 0
        same = rate_hz == SAMPLE_RATE_HZ
        self._resampler = None if same else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")

    @property
    def duration_s(self) -> float:
        """Seconds taken in so far."""
        return self._frames / self.rate_hz

    def accept(self, frames: npt.NDArray[np.float32]) -> Samples:
        """Takes frames of shape (T, channels) and returns samples of shape (T',)."""
        self._frames += len(frames)
        if self.duration_s > self._max_duration_s:
            raise AudioLimitError(
                f"the audio is longer than the limit of {self._max_duration_s:g} s; send it in several calls"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # not finite, and so refused
            mono = frames[:, 0] if self.channels == 1 else frames.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise AudioError("the audio holds NaN or infinite samples; write it again with finite values in [-1, 1]")
        return self._resample(np.clip(mono, -1.0, 1.0), last=False)

    def finish(self) -> Samples:
        """Returns what the resampler still held."""
        return self._resample(NO_SAMPLES, last=True)

    def _resample(self, mono: Samples, *, last: bool) -> Samples:
        if self._resampler is None:
            return mono
        samples = self._resampler.resample_chunk(np.ascontiguousarray(mono), last=last)
        return np.clip(np.asarray(samples, np.float32), -1.0, 1.0)  # the filter rings at steep edges


class Decoder(Protocol):
    """Bytes in, samples out; blocking, used by one thread at a time."""

    def feed(self, data: bytes) -> Samples:
        """Returns the samples, shape (T,), that `data` completes."""

    def finish(self) -> Samples:
        """Says that no more comes, and returns the rest."""

    def close(self) -> None:
        """Lets go of everything; safe at any time and more than once."""


class _RawDecoder:
    def __init__(self, encoding: str, rate_hz: int, channels: int, max_duration_s: float) -> None:
        self._reader = PcmReader(encoding, channels)
        self._normaliser = Normaliser(rate_hz, channels, max_duration_s)

    def feed(self, data: bytes) -> Samples:
        return self._normaliser.accept(self._reader.feed(data))

    def finish(self) -> Samples:
        return self._normaliser.finish()

    def bytes_for(self, samples: int) -> int:
        frames = samples * self._normaliser.rate_hz // SAMPLE_RATE_HZ
        return max(0, frames) * self._reader.frame_bytes

    def close(self) -> None:
        pass


class _WavDecoder:
    def __init__(self, stated_rate_hz: int, max_duration_s: float) -> None:
        self._stated_rate_hz = stated_rate_hz
        self._max_duration_s = max_duration_s
        self._header: WavHeader | None = None
        self.raw: _RawDecoder | None = None
        self._reader = WavHeaderReader()
        self._received = 0

    def feed(self, data: bytes) -> Samples:
        if self.raw is None or self._header is None:
            header = self._reader.feed(data)
            if header is None:
                return NO_SAMPLES
            check_rate("WAV", header.rate_hz, self._stated_rate_hz)
            self._header = header
            self.raw = _RawDecoder(header.sample_format, header.rate_hz, header.channels, self._max_duration_s)
            data = self._reader.rest
        if self._header.data_bytes is not None:
            data = data[: max(0, self._header.data_bytes - self._received)]
        self._received += len(data)
        return self.raw.feed(data)

    def finish(self) -> Samples:
        if self.raw is None or self._header is None:
            raise AudioError("the WAV file ends within its header; send the whole file")
        if self._header.data_bytes is not None and self._received < self._header.data_bytes:
            raise AudioError(
                f"the WAV file is truncated: {self._received} of {self._header.data_bytes} bytes of samples came; "
                "send the whole file"
            )
        return self.raw.finish()

    def close(self) -> None:
        pass


class StreamDecoder:
    """Decodes one stream; picks the decoder when the first bytes are there.

    Args:
        encoding: one of `ENCODINGS`; unspecified is found out from the first bytes.
        rate_hz: 0 where a header says it.
        channels: of raw samples.
        max_duration_s: bound on the decoded audio.

    Raises:
        ConfigError: the settings make no sense together.
    """

    def __init__(self, encoding: str, rate_hz: int, channels: int, max_duration_s: float) -> None:
        if encoding not in ENCODINGS:
            raise ConfigError(f"encoding {encoding!r} is unknown; accepted: {', '.join(ENCODINGS[1:])}")
        if rate_hz and not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise ConfigError(f"sample_rate_hertz is {rate_hz}; accepted: {MIN_RATE_HZ} to {MAX_RATE_HZ}")
        if not 1 <= channels <= MAX_CHANNELS:
            raise ConfigError(f"audio_channel_count is {channels}; accepted: 1 or 2")
        self._encoding, self._rate_hz, self._channels = encoding, rate_hz, channels
        self._max_duration_s = max_duration_s
        self._buffer = b""
        self._received, self._heard = 0, False
        self._decoder: Decoder | None = None

    def feed(self, data: bytes) -> Samples:
        """Returns the samples, shape (T,), that `data` completes.

        Raises:
            AudioError: not the stated encoding, broken, or out of bounds.
        """
        self._received += len(data)
        if self._received > MAX_SILENT_BYTES + self._max_duration_s * _MAX_BYTES_PER_S:
            raise AudioLimitError(
                f"more bytes came than {self._max_duration_s:g} s of audio need; send it in several calls"
            )
        if self._decoder is None:
            self._buffer += data
            if len(self._buffer) < _MAGIC_BYTES:
                return NO_SAMPLES
            samples = self._begin()
        else:
            samples = self._decoder.feed(data)
        self._heard = self._heard or len(samples) > 0
        if not self._heard and self._received > MAX_SILENT_BYTES:
            raise AudioError(f"the first {MAX_SILENT_BYTES >> 20} MiB hold no audio in the announced encoding")
        return samples

    def finish(self) -> Samples:
        """Says that no more comes, and returns the rest.

        Raises:
            AudioError: there was no audio, or it ends too early.
        """
        if self._decoder is None and not self._buffer:
            raise AudioError("the stream ended without audio; send audio before closing it")
        first = self._begin() if self._decoder is None else NO_SAMPLES
        assert self._decoder is not None
        return np.concatenate([first, self._decoder.finish()])

    def close(self) -> None:
        """Lets go of everything; safe at any time and more than once."""
        if self._decoder is not None:
            self._decoder.close()

    def bytes_for(self, samples: int) -> int:
        """About how many bytes hold so many samples at 16 kHz; 0 if the encoding does not say."""
        raw = self._decoder
        if isinstance(raw, _WavDecoder):
            raw = raw.raw
        return raw.bytes_for(samples) if isinstance(raw, _RawDecoder) else 0

    def _begin(self) -> Samples:
        self._decoder = self._pick()
        data, self._buffer = self._buffer, b""
        return self._decoder.feed(data)

    def _pick(self) -> Decoder:
        found = _sniff(self._buffer)
        encoding = self._encoding
        if found == "WAV" and encoding in ("ENCODING_UNSPECIFIED", *_RAW):
            return _WavDecoder(self._rate_hz, self._max_duration_s)
        if encoding in _RAW:
            if found in _MAGIC.values():
                raise AudioError(f"the audio was announced as {encoding} but begins like {found}; set that encoding")
            if not self._rate_hz:
                raise ConfigError(f"{encoding} without a header needs sample_rate_hertz; e.g. {SAMPLE_RATE_HZ}")
            return _RawDecoder(encoding, self._rate_hz, self._channels, self._max_duration_s)
        if encoding == "ENCODING_UNSPECIFIED":
            if not found:
                raise AudioError(f"the audio's encoding is not to be seen from its first bytes; set {_CHOICES}")
            encoding = found
        from services.recognizer.container import ContainerDecoder

        return ContainerDecoder(encoding, self._rate_hz, self._max_duration_s)


_CHOICES = f"encoding to one of {', '.join(ENCODINGS[1:])}"


def check_rate(what: str, found_hz: int, stated_hz: int) -> None:
    """Raises `AudioError` if a header contradicts the configuration (0 states nothing)."""
    if stated_hz and stated_hz != found_hz:
        raise AudioError(
            f"sample_rate_hertz is {stated_hz} but the {what} header says {found_hz}; leave it 0 and the header rules"
        )


def _sniff(data: bytes) -> str:
    """Names the container that begins with `data`, or returns an empty string."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "WAV"
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2):
        return "MP3"
    return _MAGIC.get(data[:4], "")
