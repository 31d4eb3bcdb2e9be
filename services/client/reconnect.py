"""Streams that survive a lost connection: what was sent is kept, and sent again to whoever answers next.

Until the final result nothing that was recognised is certain, so an utterance begins anew on the new connection; its
audio comes from here, at once, and goes on as it is recorded. Results say with `StreamResult.restarted` that what was
shown before no longer counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

from services.client.errors import SpeechServiceError
from services.client.options import Audio, as_bytes
from services.client.results import StreamResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconnect:
    """How hard a stream tries to come back.

    Attributes:
        attempts: connections in a row that may fail without a single result.
        first_pause_s: before the second attempt; doubled before each further one, and shortened at random.
        longest_pause_s: at most.
        max_bytes: of audio that is kept; a stream that sent more is not begun anew.
    """

    attempts: int = 6
    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0
    max_bytes: int = 16 * 2**20

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        longest = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (failures - 1))
        return random.uniform(longest / 2, longest)

    def gives_up(self, error: SpeechServiceError, failures: int, *, too_long: bool) -> bool:
        """Whether an error is the end: anything but a lost connection is."""
        return not error.connection_lost or failures >= self.attempts or too_long


class _Kept:
    """Audio as it comes, readable from its beginning as often as need be; a thread takes it in."""

    def __init__(self, chunks: Iterable[Audio], max_bytes: int) -> None:
        self._chunks, self._max_bytes = chunks, max_bytes
        self._kept: list[bytes] = []
        self._bytes = 0
        self._over = self._stopped = False
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._take_in, name="dengar-audio", daemon=True).start()

    @property
    def too_long(self) -> bool:
        """Whether more came than is kept."""
        return self._bytes > self._max_bytes

    def read(self, done: threading.Event) -> Iterator[bytes]:
        """All of it from the beginning, until it is over or `done`; raises what the source raised."""
        place = 0
        while not done.is_set():
            with self._changed:
                while place == len(self._kept) and not self._over:
                    self._changed.wait(0.1)
                    if done.is_set():
                        return
                if place == len(self._kept):
                    if self._failure is not None:
                        raise self._failure
                    return
                chunk = self._kept[place]
            place += 1
            yield chunk

    def stop(self) -> None:
        """Takes in no more."""
        self._stopped = True

    def _take_in(self) -> None:
        try:
            for chunk in self._chunks:
                with self._changed:
                    self._kept.append(as_bytes(chunk))
                    self._bytes += len(self._kept[-1])
                    self._changed.notify_all()
                if self._stopped:
                    break
        except Exception as error:
            self._failure = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()


def stream_again(
    stream: Callable[[Iterable[Audio]], Iterator[StreamResult]], chunks: Iterable[Audio], config: Reconnect
) -> Iterator[StreamResult]:
    """Results of a stream that is begun anew when its connection is lost.

    Args:
        stream: opens one stream over audio.
        chunks: the audio, iterated once.
        config: how hard it tries.

    Raises:
        SpeechServiceError: the server refuses, or no connection lasts.
    """
    kept, failures, restarted, ended = _Kept(chunks, config.max_bytes), 0, False, False
    try:
        while True:
            done = threading.Event()
            try:
                for result in stream(kept.read(done)):
                    failures, ended = 0, ended or result.is_final
                    yield dataclasses.replace(result, restarted=restarted)
                    restarted = False
                return
            except SpeechServiceError as error:
                if ended:
                    return  # all that matters was said
                failures += 1
                if config.gives_up(error, failures, too_long=kept.too_long):
                    raise
                restarted = True
                time.sleep(config.pause_s(failures))
            finally:
                done.set()
    finally:
        kept.stop()


async def stream_again_async(
    stream: Callable[[AsyncIterable[Audio]], AsyncIterator[StreamResult]],
    chunks: AsyncIterable[Audio],
    config: Reconnect,
) -> AsyncIterator[StreamResult]:
    """See `stream_again`."""
    kept: list[bytes] = []
    over, changed = False, asyncio.Condition()
    failed: list[Exception] = []

    async def take_in() -> None:
        nonlocal over
        try:
            async for chunk in chunks:
                async with changed:
                    kept.append(as_bytes(chunk))
                    changed.notify_all()
        except Exception as error:
            failed.append(error)
        async with changed:
            over = True
            changed.notify_all()

    async def read() -> AsyncIterator[bytes]:
        place = 0
        while True:
            async with changed:
                while place == len(kept) and not over:
                    await changed.wait()
                if place == len(kept):
                    break
                chunk = kept[place]
            place += 1
            yield chunk
        if failed:
            raise failed[0]

    taking, failures, restarted, ended = asyncio.create_task(take_in()), 0, False, False
    try:
        while True:
            try:
                async for result in stream(read()):
                    failures, ended = 0, ended or result.is_final
                    yield dataclasses.replace(result, restarted=restarted)
                    restarted = False
                return
            except SpeechServiceError as error:
                if ended:
                    return  # all that matters was said
                failures += 1
                if config.gives_up(error, failures, too_long=sum(map(len, kept)) > config.max_bytes):
                    raise
                restarted = True
                await asyncio.sleep(config.pause_s(failures))
    finally:
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await taking
