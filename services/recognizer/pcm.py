"""Uncompressed samples in a stream: raw PCM, mu-law and the WAV header, whatever the packet sizes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.errors import AudioError

Floats = npt.NDArray[np.float32]

MAX_WAV_HEADER_BYTES = 65_536
_UNKNOWN_SIZE = 0x7FFF_0000  # writers that cannot seek back leave 0 or a size near 2 or 4 GiB


def _mulaw_table() -> Floats:
    """The 256 values of ITU-T G.711 mu-law, scaled to [-1, 1]."""
    code = ~np.arange(256, dtype=np.uint8)
    magnitude = (((code & 0x0F).astype(np.int32) << 3) + 0x84 << ((code & 0x70) >> 4).astype(np.int32)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float32) * np.float32(2**-15)


_MULAW = _mulaw_table()


def _int24(data: bytes) -> Floats:
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return padded.view("<i4")[:, 0].astype(np.float32) * np.float32(2**-31)


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """How one sample lies in memory.

    Attributes:
        width: bytes.
        to_float: whole samples as bytes -> float32 in [-1, 1].
    """

    width: int
    to_float: Callable[[bytes], Floats]


FORMATS = {
    "LINEAR16": SampleFormat(2, lambda data: np.frombuffer(data, "<i2").astype(np.float32) * np.float32(2**-15)),
    "MULAW": SampleFormat(1, lambda data: _MULAW[np.frombuffer(data, np.uint8)]),
    "uint8": SampleFormat(
        1, lambda data: (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(2**-7)
    ),
    "int24": SampleFormat(3, _int24),
    "int32": SampleFormat(4, lambda data: np.frombuffer(data, "<i4").astype(np.float32) * np.float32(2**-31)),
    "float32": SampleFormat(4, lambda data: np.frombuffer(data, "<f4")),
}
_WAV_FORMATS = {
    (1, 8): "uint8", (1, 16): "LINEAR16", (1, 24): "int24", (1, 32): "int32", (3, 32): "float32", (7, 8): "MULAW",
}  # fmt: skip


class PcmReader:
    """Cuts a stream of bytes into frames (one sample of every channel); a cut frame waits for its rest."""

    def __init__(self, sample_format: str, channels: int) -> None:
        self._format = FORMATS[sample_format]
        self._channels = channels
        self._rest = b""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self._format.width * self._channels

    def feed(self, data: bytes) -> Floats:
        """Returns the frames completed by `data`, shape (T, channels)."""
        data = self._rest + data
        whole = len(data) - len(data) % (self._format.width * self._channels)
        self._rest = data[whole:]
        return self._format.to_float(data[:whole]).reshape(-1, self._channels)


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What stands in front of a WAV file's samples.

    Attributes:
        size: bytes of the header, the samples follow.
        data_bytes: bytes of samples, or None where the writer did not know.
    """

    sample_format: str
    rate_hz: int
    channels: int
    size: int
    data_bytes: int | None


class WavHeaderReader:
    """Reads the start of a WAV stream that begins with ``RIFF....WAVE``, in pieces of any size, each byte once.

    Attributes:
        rest: bytes of samples that came with the end of the header.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._data = bytearray()
        self._position = 12  # of the next chunk
        self._format: tuple[str, int, int] | None = None

    def feed(self, data: bytes) -> WavHeader | None:
        """Takes the next bytes.

        Returns:
            None while the samples have not begun.

        Raises:
            AudioError: a header that is broken, endless, or of samples that are not accepted.
        """
        self._data += data
        while len(self._data) >= self._position + 8:
            name, size = struct.unpack_from("<4sI", self._data, self._position)
            body = self._position + 8
            if name == b"data":
                if self._format is None:
                    raise AudioError("the WAV header has no format before its samples; send the file as it was written")
                self.rest, self._data = bytes(self._data[body:]), bytearray()
                return WavHeader(*self._format, size=body, data_bytes=size if 0 < size < _UNKNOWN_SIZE else None)
            if body + size > MAX_WAV_HEADER_BYTES:
                raise AudioError(
                    f"the WAV header is longer than {MAX_WAV_HEADER_BYTES} bytes; write the file without tags"
                )
            if len(self._data) < body + size:
                return None
            if name == b"fmt ":
                self._format = _parse_format(bytes(self._data[body : body + size]))
            self._position = body + size + size % 2
        return None


def _parse_format(chunk: bytes) -> tuple[str, int, int]:
    if len(chunk) < 16:
        raise AudioError(f"the WAV header's format has {len(chunk)} bytes instead of 16 or more; write the file again")
    fields: tuple[Any, ...] = struct.unpack_from("<HHIIHH", chunk)
    tag, channels, rate_hz, bits = fields[0], fields[1], fields[2], fields[5]
    if tag == 0xFFFE and len(chunk) >= 26:  # WAVE_FORMAT_EXTENSIBLE: the true tag begins the GUID
        tag = struct.unpack_from("<H", chunk, 24)[0]
    if (tag, bits) not in _WAV_FORMATS:
        raise AudioError(f"the WAV file holds format {tag} with {bits} bits; accepted: PCM, 32-bit float, mu-law")
    return _WAV_FORMATS[tag, bits], rate_hz, channels
