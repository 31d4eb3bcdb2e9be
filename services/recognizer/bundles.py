"""Which bundle answers a stream: the live one, or for a share the candidate; changed while streams run.

Everything here belongs to the event loop; only `open` blocks and runs in a thread. A stream keeps the recogniser that
it began with, and a bundle that is no longer served lives exactly as long as its last stream.
"""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from asr.audio import SAMPLE_RATE_HZ
from asr.errors import BundleError, ConfigError, DengarError
from services.faults import crash_point
from services.recognizer.session import Recognizer

Loader = Callable[[str], Recognizer]
"""Opens a bundle by folder, hash or alias; raises `BundleError`. Blocks."""

NEGLIGIBLE_RTF = 0.01
"""Below this a bundle is fast, however much faster another is, and the measurement is mostly chance."""

COLLECT_AFTER_S = 1.0
_TRIAL_S = 4.0


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SwapRules:
    """When a bundle is refused.

    Attributes:
        max_rtf: processor seconds that it may take for a second of audio.
        max_slowdown: how many times slower than the live one it may be.
    """

    max_rtf: Annotated[float, Field(gt=0)] = 0.5
    max_slowdown: Annotated[float, Field(gt=0)] = 2.0


@dataclass(slots=True, eq=False)
class Served:
    """A bundle in service.

    Attributes:
        recognizer: its recogniser.
        name: where it was loaded from.
        rtf: processor seconds for a second of audio, when it was loaded; 0 if not measured.
        streams: that it is answering.
    """

    recognizer: Recognizer
    name: str
    rtf: float = 0.0
    streams: int = 0

    @property
    def hash(self) -> str:
        return self.recognizer.bundle_hash


@dataclass(slots=True)
class Shadow:
    """What the candidate understood of streams that the live bundle had answered; `ShadowResults` in the contract."""

    utterances: int = 0
    changed: int = 0
    words: int = 0
    word_differences: int = 0
    left_out: int = 0


class Bundles:
    """The bundles of one server.

    Args:
        live: answers to begin with.
        load: opens others.
        rules: what others must keep to.
        seed: of which streams the candidate gets.
    """

    def __init__(self, live: Served, load: Loader, rules: SwapRules | None = None, *, seed: int | None = None) -> None:
        self.live = live
        self.candidate: Served | None = None
        self.previous_name = self.previous_hash = ""
        self.canary_share = self.shadow_share = 0.0
        self.shadow = Shadow()
        self._draining: list[Served] = []
        self._load, self._rules = load, rules or SwapRules()
        self._rng = random.Random(seed)

    @property
    def draining(self) -> list[Served]:
        """Bundles that only finish the streams they have."""
        return list(self._draining)

    def take(self) -> Served:
        """Who answers the next stream; `release` is its end."""
        chosen = self.live
        if self.candidate is not None and self._rng.random() < self.canary_share:
            chosen = self.candidate
        chosen.streams += 1
        return chosen

    def release(self, bundle: Served) -> None:
        """A stream is over; with its last one a bundle that is not served any more is let go of."""
        bundle.streams -= 1
        self._prune()

    def wants_shadow(self, answered: Served) -> bool:
        """Whether a stream that begins now is to be heard by the candidate too, once it is answered."""
        return self.candidate not in (None, answered) and self._rng.random() < self.shadow_share

    def open(self, name: str) -> Served:
        """Loads a bundle, and lets it show that it fits and is fast enough. Blocks; run it in a thread.

        Raises:
            BundleError: it is not to be had, corrupt, or breaks a rule.
            OSError: it cannot be read.
        """
        try:
            recognizer = self._load(name)
        except (DengarError, OSError):
            raise
        except Exception as error:  # of the engine, about a file that is whole and yet not for it
            raise BundleError(f"{name}: cannot be loaded ({type(error).__name__}); the live bundle stays") from error
        crash_point("swap.loaded")
        try:
            rtf = measure_rtf(recognizer)
        except Exception as error:
            raise BundleError(f"{name}: loads but does not recognise ({error}); the live bundle stays") from error
        crash_point("swap.warmed")
        if rtf > self._rules.max_rtf:
            raise BundleError(
                f"{name}: takes {rtf:.3f} processor seconds for a second of audio, at most {self._rules.max_rtf:g} are "
                "allowed; the live bundle stays"
            )
        if self.live.rtf and rtf > max(NEGLIGIBLE_RTF, self._rules.max_slowdown * self.live.rtf):
            raise BundleError(
                f"{name}: is {rtf / self.live.rtf:.1f} times slower than the live bundle, at most "
                f"{self._rules.max_slowdown:g} times is allowed; the live bundle stays"
            )
        return Served(recognizer, name, rtf)

    def promote(self, bundle: Served | None = None) -> None:
        """Gives new streams another bundle, or the candidate; the live one becomes the previous one.

        Raises:
            ConfigError: there is no candidate.
        """
        bundle = bundle or self.candidate
        if bundle is None:
            raise ConfigError("there is no candidate to promote; name a bundle")
        if bundle.hash == self.live.hash:
            return
        if self.candidate is not None and self.candidate.hash == bundle.hash:
            if bundle is not self.candidate:
                self._draining.append(self.candidate)
            self.candidate, self.canary_share, self.shadow_share = None, 0.0, 0.0
        self._draining.append(self.live)
        self.previous_name, self.previous_hash = self.live.name, self.live.hash
        self.live = bundle
        crash_point("swap.promoted")
        self._prune()

    def set_candidate(self, bundle: Served | None, canary_share: float, shadow_share: float) -> None:
        """Sets the candidate and its shares; None and two zeros let go of it.

        Raises:
            ConfigError: shares out of range, or shares without a candidate.
        """
        for name, share in (("canary_share", canary_share), ("shadow_share", shadow_share)):
            if not 0.0 <= share <= 1.0:
                raise ConfigError(f"{name} is {share:g}; accepted: 0 to 1")
        if bundle is None and (canary_share or shadow_share):
            raise ConfigError("there is no candidate to give streams to; name a bundle")
        if bundle is not self.candidate:
            if self.candidate is not None:
                self._draining.append(self.candidate)
            self.shadow = Shadow()
        self.candidate, self.canary_share, self.shadow_share = bundle, canary_share, shadow_share
        self._prune()

    def _prune(self) -> None:
        left = [each for each in self._draining if each.streams]
        if len(left) < len(self._draining):
            # Exceptions of calls that failed hold their streams in cycles, and with them the bundle. A full collection
            # would come minutes later by itself: here once the last call is over.
            timer = threading.Timer(COLLECT_AFTER_S, gc.collect)
            timer.daemon = True
            timer.start()
        self._draining = left


def measure_rtf(recognizer: Recognizer) -> float:
    """Processor seconds of this thread for a second of noise that is streamed through a recogniser, warm."""
    samples = np.random.default_rng(0).normal(0.0, 0.05, int(_TRIAL_S * SAMPLE_RATE_HZ)).astype(np.float32)
    times = []
    for _ in range(2):  # the first also warms caches and compilers
        began = time.thread_time()
        stream = recognizer.stream()
        for start in range(0, len(samples), SAMPLE_RATE_HZ // 2):
            recognizer.advance([(stream, samples[start : start + SAMPLE_RATE_HZ // 2], False)])
        recognizer.advance([(stream, samples[:0], True)])
        stream.finish()
        times.append(time.thread_time() - began)
    return min(times) / _TRIAL_S
