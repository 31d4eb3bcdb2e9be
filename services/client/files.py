"""Files as a client sends them, without decoding: the server does that."""

from __future__ import annotations

import time
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.errors import AudioError
from services.client.options import Options

_ENCODINGS = {
    ".flac": "FLAC", ".ogg": "OGG_OPUS", ".oga": "OGG_OPUS", ".opus": "OGG_OPUS", ".mp3": "MP3", ".webm": "WEBM_OPUS",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AudioFile:
    """Bytes to send and how they are encoded.

    Attributes:
        data: LINEAR16 samples of a 16-bit WAV file, otherwise the file as it is.
        encoding: for `Options`; empty where the server shall find out.
        sample_rate_hz: 0 where a header says it.
        channels: of LINEAR16.
        duration_s: None where only a decoder could tell.
    """

    data: bytes
    encoding: str
    sample_rate_hz: int
    channels: int
    duration_s: float | None

    def options(self, *, max_alternatives: int = 1, written_form: bool = False) -> Options:
        """Options that fit this file."""
        return Options(
            encoding=self.encoding,
            sample_rate_hz=self.sample_rate_hz,
            channels=self.channels,
            max_alternatives=max_alternatives,
            written_form=written_form,
        )

    def chunks(self, seconds: float) -> Iterator[bytes]:
        """Cuts the data into pieces of about `seconds` (an even share of the bytes where they are compressed)."""
        duration_s = self.duration_s or 0.0
        size = max(1, int(len(self.data) * seconds / duration_s)) if duration_s else 16_384
        for start in range(0, len(self.data), size):
            yield self.data[start : start + size]


def open_audio(path: str | Path) -> AudioFile:
    """Reads a file for sending.

    Raises:
        AudioError: the file cannot be read or is empty.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise AudioError(f"{path}: the file is empty; send a recording")
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() == 2 and file.getnframes() and file.getnchannels() <= 2:
                frames = file.readframes(file.getnframes())
                whole = len(frames) == file.getnframes() * file.getnchannels() * 2
                if whole:  # otherwise the server says what is wrong
                    duration_s = file.getnframes() / file.getframerate()
                    return AudioFile(frames, "LINEAR16", file.getframerate(), file.getnchannels(), duration_s)
    except (wave.Error, EOFError, ValueError):
        pass  # not a WAV file of plain samples; the server knows more formats
    return AudioFile(data, _ENCODINGS.get(path.suffix.lower(), ""), 0, 1, _duration_s(path))


def paced(chunks: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    """Yields each chunk when a microphone would have it: `seconds` after the one before."""
    start = time.monotonic()
    for index, chunk in enumerate(chunks, start=1):
        time.sleep(max(0.0, start + index * seconds - time.monotonic()))
        yield chunk


def _duration_s(path: Path) -> float | None:
    """Asks PyAV where it is installed."""
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as container:
            return container.duration / av.time_base if container.duration else None
    except (av.FFmpegError, ValueError):
        return None
