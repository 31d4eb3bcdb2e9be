"""Streams heard once more by the candidate after they were answered, to know what it would have said."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jiwer
import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from services.recognizer.bundles import Served, Shadow
from services.recognizer.session import SessionConfig

MOST_WAITING = 8
NICE = 10
log = logging.getLogger("dengar.recognizer")


class ShadowListener:
    """Listens in one thread of low priority, and forgets the audio when it has.

    Args:
        on_heard: called with (words changed?) in that thread after each stream.
    """

    def __init__(self, on_heard: Callable[[bool], None] = lambda _: None) -> None:
        self._on_heard = on_heard
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow", initializer=lower_priority)
        self._waiting = 0
        self._lock = threading.Lock()

    def listen(
        self, candidate: Served, recording: Samples, answered: str, shadow: Shadow, config: SessionConfig
    ) -> None:
        """Compares what the candidate hears in a recording (T,) with what was answered, soon; never blocks.

        Args:
            candidate: who listens.
            recording: at 16 kHz.
            answered: the live bundle's words.
            shadow: where it is counted; also what is left out, because too many wait.
            config: of the stream that was answered: the candidate is hinted at the same phrases and names.
        """
        with self._lock:
            if self._waiting >= MOST_WAITING:
                shadow.left_out += 1
                return
            self._waiting += 1
        self._pool.submit(self._hear, candidate, recording, answered, shadow, config)

    def close(self) -> None:
        """Ends the thread; what still waits is not heard."""
        self._pool.shutdown(cancel_futures=True)

    def _hear(
        self, candidate: Served, recording: Samples, answered: str, shadow: Shadow, config: SessionConfig
    ) -> None:
        try:
            recognizer = candidate.recognizer
            given = config.names.hints(recognizer, config.phrases)
            stream = recognizer.stream(1, given.hints)
            for start in range(0, len(recording), SAMPLE_RATE_HZ):
                recognizer.advance([(stream, recording[start : start + SAMPLE_RATE_HZ], False)])
            recognizer.advance([(stream, np.zeros(0, np.float32), True)])
            text = given.aliases.apply(stream.finish()[0]).text
        except Exception:
            log.exception("the candidate %s failed on a stream that it heard in shadow", candidate.hash[:12])
            with self._lock:
                shadow.left_out += 1
            return
        finally:
            with self._lock:
                self._waiting -= 1
        with self._lock:
            shadow.utterances += 1
            shadow.changed += text != answered
            shadow.words += len(answered.split())
            shadow.word_differences += differences(answered, text)
        self._on_heard(text != answered)


def differences(answered: str, text: str) -> int:
    """Word errors of a text against another."""
    if not answered.split():
        return len(text.split())
    aligned = jiwer.process_words(answered, text)
    return int(aligned.substitutions + aligned.deletions + aligned.insertions)


def lower_priority() -> None:
    """Lets other threads go before the calling one, as far as the system allows."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
