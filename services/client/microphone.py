"""The microphone of this machine, as raw LINEAR16 at 16 kHz."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator

from asr.errors import AudioError, MissingDependencyError

SAMPLE_RATE_HZ = 16_000
CHUNK_S = 0.1
_CHUNK_BYTES = int(CHUNK_S * SAMPLE_RATE_HZ) * 2


def microphone(stop: threading.Event) -> Iterator[bytes]:
    """Records until `stop` is set: chunks of `CHUNK_S`.

    Raises:
        MissingDependencyError: neither arecord nor the package sounddevice is there.
        AudioError: the recording could not start.
    """
    if shutil.which("arecord"):
        return _arecord(stop)
    try:
        import sounddevice  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        raise MissingDependencyError(
            "recording needs arecord (Debian package alsa-utils) or the Python package sounddevice; install one, "
            "or stream a file"
        ) from error
    return _sounddevice(sounddevice, stop)


async def async_microphone(stop: asyncio.Event) -> AsyncIterator[bytes]:
    """The same for asyncio: the recording runs in a thread, and the event loop waits for nothing.

    Raises:
        MissingDependencyError, AudioError: see `microphone`.
    """
    ending = threading.Event()
    chunks = microphone(ending)
    try:
        while not stop.is_set():
            chunk = await asyncio.to_thread(next, chunks, b"")
            if not chunk:
                break
            yield chunk
    finally:
        ending.set()
        await asyncio.to_thread(lambda: [None for _ in chunks])  # the recorder ends with its generator


def _arecord(stop: threading.Event) -> Iterator[bytes]:
    command = ["arecord", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(SAMPLE_RATE_HZ)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        heard = False
        while not stop.is_set():
            chunk = process.stdout.read(_CHUNK_BYTES)
            if not chunk:
                break
            heard = True
            yield chunk
        if not heard and not stop.is_set():
            lines = process.stderr.read().decode(errors="replace").strip().splitlines() or ["no audio came"]
            raise AudioError(f"arecord could not record ({lines[0]}); check that a microphone is connected")
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _sounddevice(sounddevice: object, stop: threading.Event) -> Iterator[bytes]:
    frames = _CHUNK_BYTES // 2
    try:
        stream = sounddevice.RawInputStream(  # type: ignore[attr-defined]
            samplerate=SAMPLE_RATE_HZ, channels=1, dtype="int16", blocksize=frames
        )
        with stream:
            while not stop.is_set():
                data, _overflowed = stream.read(frames)
                yield bytes(data)
    except sounddevice.PortAudioError as error:  # type: ignore[attr-defined]
        raise AudioError(f"the microphone could not be opened ({error}); check that one is connected") from error
