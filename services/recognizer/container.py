"""Compressed audio in a stream: FFmpeg reads from a pipe that the caller fills.

FFmpeg pulls bytes, a stream pushes them. So each container has a thread of its own, in step with the caller:
`feed` gives it bytes and waits until it asks for more. The samples of a packet are there when `feed` returns, the two
never run at once, and nothing piles up.
"""

from __future__ import annotations

import logging
import threading

import av
import numpy as np

from asr.audio import Samples
from asr.errors import AudioError
from services.recognizer.audio_in import NO_SAMPLES, Normaliser, check_rate

# encoding: (FFmpeg's demuxer, the codecs it may open)
_CONTAINERS = {
    "FLAC": ("flac", ("flac",)),
    "OGG_OPUS": ("ogg", ("opus", "libopus")),
    "MP3": ("mp3", ("mp3float", "mp3")),
    "WEBM_OPUS": ("matroska", ("opus", "libopus")),
}
log = logging.getLogger("dengar.recognizer")
_DECODE_ERRORS = (av.FFmpegError, ValueError, IndexError, OverflowError)


class ContainerDecoder:
    """Decodes FLAC, Ogg/Opus, MP3 or WebM/Opus from packets of any size.

    Args:
        encoding: FLAC, OGG_OPUS, MP3 or WEBM_OPUS.
        stated_rate_hz: refused if a FLAC header contradicts it; 0 states nothing.
        max_duration_s: bound on the decoded audio.
    """

    def __init__(self, encoding: str, stated_rate_hz: int, max_duration_s: float) -> None:
        self._encoding = encoding
        self._stated_rate_hz = stated_rate_hz if encoding == "FLAC" else 0
        self._max_duration_s = max_duration_s
        self._state = threading.Condition()
        self._bytes = bytearray()
        self._no_more = self._closed = self._hungry = self._done = False
        self._samples: list[Samples] = []
        self._error: AudioError | None = None
        self._thread = threading.Thread(target=self._run, name="container-decoder", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> Samples:
        """Returns the samples, shape (T,), that `data` completes.

        Raises:
            AudioError: not this encoding, broken, or longer than allowed.
        """
        with self._state:
            self._bytes += data
            self._hungry = False
            self._state.notify_all()
            self._state.wait_for(lambda: self._hungry or self._done)
        return self._take()

    def finish(self) -> Samples:
        """Says that no more comes, and returns the rest.

        Raises:
            AudioError: there was no audio in it, or it ends too early.
        """
        with self._state:
            self._no_more = True
            self._state.notify_all()
        self._thread.join()
        return self._take()

    def close(self) -> None:
        """Ends the thread; what it had decoded is dropped."""
        with self._state:
            self._closed = self._no_more = True
            self._bytes.clear()
            self._state.notify_all()

    def read(self, size: int) -> bytes:
        """FFmpeg's side of the pipe: waits for bytes, and returns none at the end."""
        with self._state:
            while not self._bytes and not self._no_more:
                self._hungry = True
                self._state.notify_all()
                self._state.wait()
            data = bytes(self._bytes[:size])
            del self._bytes[:size]
            return data

    def _take(self) -> Samples:
        if self._error is not None:
            raise self._error
        samples, self._samples = self._samples, []
        return np.concatenate(samples) if samples else NO_SAMPLES

    def _run(self) -> None:
        try:
            self._decode()
        except AudioError as error:
            self._error = error
        except Exception as error:
            if not isinstance(error, _DECODE_ERRORS):  # it took the bytes for something that it cannot describe
                log.warning("FFmpeg failed on %s with %s", self._encoding, type(error).__name__, exc_info=error)
            self._error = AudioError(f"the audio cannot be decoded as {self._encoding}, or ends in the middle")
            self._error.__cause__ = error
        finally:
            with self._state:
                self._done = True
                self._state.notify_all()

    def _decode(self) -> None:
        demuxer, codecs = _CONTAINERS[self._encoding]
        options = {"codec_whitelist": ",".join(codecs), "probesize": "2048", "analyzeduration": "100000"}
        normaliser: Normaliser | None = None
        with av.open(self, mode="r", format=demuxer, options=options) as container:
            streams = container.streams.audio
            codec = streams[0].codec_context if streams else None
            if codec is None or codec.name not in codecs:
                raise AudioError(f"the audio is not {self._encoding}: its container holds no such track")
            stream = streams[0]
            codec.thread_count = 1
            planar = av.AudioResampler(format="fltp")
            for frame in container.decode(stream):
                if normaliser is None:
                    check_rate(self._encoding, frame.sample_rate, self._stated_rate_hz)
                    normaliser = Normaliser(frame.sample_rate, frame.layout.nb_channels, self._max_duration_s)
                if (frame.sample_rate, frame.layout.nb_channels) != (normaliser.rate_hz, normaliser.channels):
                    raise AudioError("the audio changes its sampling rate or channels midway; send it in one format")
                for block in planar.resample(frame):
                    self._samples.append(normaliser.accept(np.asarray(block.to_ndarray().T, np.float32)))
                if self._closed:
                    return
            expected_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if normaliser is None:
            raise AudioError(f"the audio cannot be decoded as {self._encoding}: no samples were found in it")
        if self._encoding == "FLAC" and normaliser.duration_s < expected_s - 1e-3:
            raise AudioError(
                f"the FLAC file is truncated: {normaliser.duration_s:.2f} of {expected_s:.2f} s came; "
                "send the whole file"
            )
        self._samples.append(normaliser.finish())
