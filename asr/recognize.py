"""From samples to words with a bundle: whole recordings, or a stream as the samples arrive."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from asr.acoustic_stream import AcousticStream
from asr.audio import SAMPLE_RATE_HZ, Samples, packets
from asr.bundle import Bundle, load_bundle
from asr.decode import Decoder, DecoderConfig, Hypothesis
from asr.decode.stability import Outlook, Standing, features, stability
from asr.decode.types import LogProbs
from asr.endpoint import Evidence, evidence
from asr.engine import Engine, Geometry, State
from asr.errors import ConfigError
from asr.features import Mel, windows_to_mel
from asr.unknown.listen import UnknownListener

if TYPE_CHECKING:
    from asr.decode.hint_text import Contexts
    from asr.decode.hints import Hints

MAX_BATCH = 16
"""Streams that step together: beyond that a batch only delays its first stream, see `dengar bench`."""

KEPT_HINTS = 32
"""Compiled sets of phrases that a recogniser keeps."""

GLIMPSE_FRAMES = 10
"""Output frames by which a glimpse into an unfinished chunk grows: 200 ms for the pretrained encoder."""


@dataclass(frozen=True, slots=True)
class Partial:
    """An interim result.

    Attributes:
        hypothesis: the best reading so far; its last word may be incomplete.
        stability: the probability that all its words, in their order, begin the final result; in [0, 1], 0 if there
            are none.
        features: what that rests on, see `asr.decode.stability`; None if there are no words.
    """

    hypothesis: Hypothesis
    stability: float
    features: npt.NDArray[np.float64] | None = None


@dataclass(slots=True)
class Costs:
    """What recognition cost so far, in processor seconds of the calling thread.

    Attributes:
        features_s, model_s, decode_s: by stage.
        batches: how often a step of the model served so many streams.
    """

    features_s: float = 0.0
    model_s: float = 0.0
    decode_s: float = 0.0
    batches: Counter[int] = field(default_factory=Counter)


class Recognizer:
    """A loaded bundle; immutable, so that streams in several threads may share one.

    Args:
        bundle: to recognise with.
        decoder: other settings than the bundle's.
        engine: another engine than the bundle's int8 ONNX model, such as `asr.model.torch_engine.TorchEngine`.
        threads: of the ONNX engine.
    """

    def __init__(
        self, bundle: Bundle, *, decoder: DecoderConfig | None = None, engine: Engine | None = None, threads: int = 1
    ) -> None:
        self.bundle = bundle
        self.engine = engine or bundle.engine(threads=threads)
        self.decoder = Decoder(
            bundle.tokens, decoder or bundle.decoder, self.engine.geometry.frame_s, bundle.language_model()
        )
        self._hints: dict[str, Hints] = {}
        self._hints_lock = threading.Lock()

    @classmethod
    def open(
        cls, bundle: str | Path | None = None, *, threads: int = 1, engine: Literal["onnx", "torch"] = "onnx"
    ) -> Recognizer:
        """Loads a bundle by path, hash or alias; None is the shipped default.

        Args:
            bundle: to load.
            threads: of the ONNX engine for one step.
            engine: ``onnx`` is the int8 model, ``torch`` the float weights, the reference.
        """
        loaded = load_bundle(bundle)
        if engine == "onnx":
            return cls(loaded, threads=threads)
        from asr.model.torch_engine import TorchEngine

        return cls(loaded, engine=TorchEngine.open(loaded.path, loaded.model, len(loaded.tokens), threads=threads))

    @property
    def bundle_hash(self) -> str:
        return self.bundle.hash

    @property
    def geometry(self) -> Geometry:
        return self.engine.geometry

    def warm(self) -> None:
        """Runs everything once, so that the first stream does not wait for compilers and caches."""
        noise = np.random.default_rng(0).normal(0.0, 0.05, 2 * SAMPLE_RATE_HZ).astype(np.float32)
        hints = self.hints((("a", 1.0), ("call $NAME", 1.0)), {"NAME": ("b",)})
        for stream in (self.stream(), self.stream(hints=hints)):
            stream.accept(noise)
            stream.partial()
            stream.finish()

    def stream(
        self, nbest: int = 1, hints: Hints | None = None, *, watched: bool = False, keep_posteriors: bool = False
    ) -> RecognitionStream:
        """A new stream.

        Args:
            nbest: largest number of hypotheses.
            hints: phrases that it expects, from `hints`.
            watched: keep evidence for an `asr.endpoint.Endpointer`.
            keep_posteriors: keep the first 30 s of posteriors, in half precision, for `asr.unknown.find_unknown`.
        """
        return RecognitionStream(self, nbest, hints, watched=watched, keep_posteriors=keep_posteriors)

    def hints(
        self,
        phrases: Sequence[tuple[str, float]],
        classes: Mapping[str, Sequence[str]] | None = None,
        contexts: Contexts | None = None,
    ) -> Hints:
        """Compiles phrases for `stream`, or takes them from the last `KEPT_HINTS` that were compiled.

        Args:
            phrases: texts and boosts; see `asr.decode.Decoder.hints`.
            classes: items by name.
            contexts: in which some of the phrases are worth more.
        """
        from asr.decode.hints import content_key

        key = content_key(phrases, classes or {}, contexts)
        with self._hints_lock:
            found = self._hints.pop(key, None)
        found = found or self.decoder.hints(phrases, classes, contexts)
        with self._hints_lock:
            self._hints[key] = found
            while len(self._hints) > KEPT_HINTS:
                del self._hints[next(iter(self._hints))]
        return found

    def transcribe(
        self, samples: Samples, *, whole: bool = False, nbest: int = 1, hints: Hints | None = None
    ) -> list[Hypothesis]:
        """Recognises a recording of shape (T,); best first.

        Args:
            samples: mono float32 at 16 kHz.
            whole: hand over everything at once, instead of in packets as a stream would.
            nbest: largest number of hypotheses.
            hints: phrases that are expected, from ``decoder.hints``.
        """
        stream = self.stream(nbest, hints)
        for packet in [samples] if whole else packets(samples):
            stream.accept(packet)
        return stream.finish()

    def posteriors(self, samples: Samples) -> LogProbs:
        """The acoustic model's natural-log posteriors of a whole recording, shape (U, V), before any decoding."""
        stream = AcousticStream(self.engine, self.bundle.model.features)
        found: list[LogProbs] = [np.zeros((0, len(self.bundle.tokens)), np.float32)]
        self._hear([(stream, samples, True)], lambda _, log_probs: found.append(log_probs), Costs())
        return np.concatenate(found)

    def advance(self, heard: Sequence[tuple[RecognitionStream, Samples, bool]], costs: Costs | None = None) -> None:
        """Recognises what came in on many streams of this recogniser together.

        Features are transformed in one piece and the model takes a step for all streams that are ready, at most
        `MAX_BATCH` at a time; what is heard in a stream is the same as alone (see `asr.model.quantise`).

        Args:
            heard: streams, each at most once, with the next samples of each, shape (T,), and whether they are its last.
                No other thread may touch them meanwhile.
            costs: told what the stages cost.
        """
        streams = [stream for stream, _, _ in heard]
        for stream, samples, end in heard:
            stream.hears(samples, end=end)
        acoustic = [(stream.acoustic, samples, end) for stream, samples, end in heard]
        self._hear(acoustic, lambda place, log_probs: streams[place].decode(log_probs), costs or Costs())

    def glimpse(self, streams: Sequence[RecognitionStream], costs: Costs | None = None) -> None:
        """Looks into the chunks that are still being filled, for interim results between two steps.

        What is there of a chunk is stepped through and thrown away: the final result stays what it would have been.
        Streams that are no louder than their background are left out. Does nothing for a bundle whose model takes whole
        chunks only.
        """
        if not self.engine.short_steps:
            return
        costs = costs or Costs()
        alike: dict[int, list[tuple[RecognitionStream, Mel]]] = {}
        for stream in streams:
            window = stream.acoustic.windows.peek(GLIMPSE_FRAMES)
            if window is not None and stream.acoustic.loudness.stands_out(GLIMPSE_FRAMES * self.geometry.stride):
                alike.setdefault(len(window), []).append((stream, window))
        for group in alike.values():
            began = time.thread_time()
            acoustic = [stream.acoustic for stream, _ in group]
            log_probs, _ = self.engine.step(np.stack([window for _, window in group]), _together(acoustic))
            costs.batches[len(group)] += 1
            middle = time.thread_time()
            for (stream, _), chunk in zip(group, log_probs, strict=True):
                stream.preview(stream.acoustic.ahead(chunk))
            costs.model_s += middle - began
            costs.decode_s += time.thread_time() - middle

    def _hear(
        self,
        heard: Sequence[tuple[AcousticStream, Samples, bool]],
        take: Callable[[int, LogProbs], None],
        costs: Costs,
    ) -> None:
        """Calls `take` with the place in `heard` and the frames (t, V) for every step of every stream, in order."""
        began = time.thread_time()
        cuts = [stream.features.cut(samples, end=end) for stream, samples, end in heard]
        ends = np.cumsum([len(cut) for cut in cuts])
        mels = np.split(windows_to_mel(np.concatenate(cuts), self.bundle.model.features), ends[:-1])
        waiting = {
            place: windows
            for place, ((stream, _, end), mel) in enumerate(zip(heard, mels, strict=True))
            if (windows := stream.cut(mel, end=end))
        }
        costs.features_s += time.thread_time() - began
        while waiting:
            places = list(waiting)[:MAX_BATCH]
            began = time.thread_time()
            streams = [heard[place][0] for place in places]
            log_probs = self._step(streams, [waiting[place].pop(0) for place in places])
            costs.batches[len(places)] += 1
            middle = time.thread_time()
            for place, stream, chunk in zip(places, streams, log_probs, strict=True):
                take(place, stream.real(chunk))
                # Whoever has more to hear goes to the end of the line.
                windows = waiting.pop(place)
                if windows:
                    waiting[place] = windows
            costs.model_s += middle - began
            costs.decode_s += time.thread_time() - middle

    def _step(self, streams: Sequence[AcousticStream], windows: Sequence[Mel]) -> LogProbs:
        """One step of the model for each stream, (N, C, V)."""
        log_probs, state = self.engine.step(np.stack(windows), _together(streams))
        for row, stream in enumerate(streams):
            # A copy: a view would keep the states of all its neighbours in memory until this stream's next step.
            stream.state = {name: value[row : row + 1].copy() for name, value in state.items()}
        return log_probs


def _together(streams: Sequence[AcousticStream]) -> State:
    """The states of several streams as one; of a single stream its own."""
    if len(streams) == 1:
        return streams[0].state
    return {name: np.concatenate([stream.state[name] for stream in streams]) for name in streams[0].state}


class RecognitionStream:
    """One utterance on its way: samples in, hypotheses out. Not to be shared between threads."""

    def __init__(
        self, recognizer: Recognizer, nbest: int, hints: Hints | None, *, watched: bool, keep_posteriors: bool
    ) -> None:
        self.acoustic = AcousticStream(recognizer.engine, recognizer.bundle.model.features)
        self._recognizer = recognizer
        self._decoder = recognizer.decoder.stream(hints)
        self._nbest = nbest
        self._samples = 0
        self._finished = False
        self._standing = Standing()
        self._glimpsed: Outlook | None = None
        self._glimpsed_s = 0.0
        self._evidence: list[Evidence] | None = [] if watched else None
        self._kept = UnknownListener.of(recognizer) if keep_posteriors else None

    @property
    def duration_s(self) -> float:
        """Seconds of audio received."""
        return self._samples / SAMPLE_RATE_HZ

    @property
    def trailing_silence_s(self) -> float:
        """Seconds since the last spoken token, as far as the model has heard."""
        return self._decoder.trailing_silence_s

    @property
    def missing_samples(self) -> int:
        """How many more samples let the model take its next step; fewer change nothing that can be seen."""
        return self.acoustic.missing_samples()

    @property
    def missing_glimpse_samples(self) -> int:
        """How many more samples let it take the next step, or `Recognizer.glimpse` see more of the chunk."""
        short = self._recognizer.engine.short_steps
        return self.acoustic.missing_samples(GLIMPSE_FRAMES if short else None)

    @property
    def posteriors(self) -> LogProbs:
        """What `asr.unknown.find_unknown` reads, shape (T, V), if the stream was asked to keep it: the first 30 s."""
        if self._kept is None:
            raise ConfigError("stream: keeps no posteriors; open it with Recognizer.stream(keep_posteriors=True)")
        return self._kept.log_probs

    def accept(self, samples: Samples) -> None:
        """Takes samples of shape (T,), any T, and recognises as far as they reach."""
        self._recognizer.advance([(self, samples, False)])

    def partial(self) -> Partial:
        """The best reading so far."""
        outlook = self._glimpsed or self._decoder.outlook()
        glimpsed = self._glimpsed is not None
        heard_s = self._decoder.duration_s + glimpsed * self._glimpsed_s
        age_s, young = self._standing.note(outlook.hypothesis, heard_s)
        if not outlook.hypothesis.words:
            return Partial(outlook.hypothesis, 0.0)
        found = features(outlook, age_s, young, glimpsed)
        return Partial(outlook.hypothesis, stability(found, self._recognizer.decoder.config.stability), found)

    def finish(self) -> list[Hypothesis]:
        """Recognises the rest and returns up to `nbest` hypotheses, best first; the stream is then used up."""
        if not self._finished:
            self._recognizer.advance([(self, np.zeros(0, np.float32), True)])
        return self._decoder.finish(self._nbest)

    def hears(self, samples: Samples, *, end: bool) -> None:
        """Keeps account of what `Recognizer.advance` is about to recognise."""
        self._samples += len(samples)
        self._finished = end

    def decode(self, log_probs: LogProbs) -> None:
        """Takes the next posteriors (t, V) from `Recognizer.advance`."""
        self._decoder.accept(log_probs)
        if self._kept is not None:
            self._kept.accept(log_probs)
        self._glimpsed = None
        if self._evidence is not None:
            decoder, shared = self._decoder, self._recognizer.decoder
            geometry, text = self._recognizer.geometry, decoder.best().text
            self._evidence.append(evidence(geometry, decoder.duration_s, decoder.trailing_silence_s, text, shared.lm))

    def take_evidence(self) -> list[Evidence]:
        """What was learned at each of the model's steps since the last call, for an `asr.endpoint.Endpointer`."""
        taken, self._evidence = self._evidence or [], [] if self._evidence is not None else None
        return taken

    def preview(self, log_probs: LogProbs) -> None:
        """Lets `partial` know, until the next step, what the posteriors (t, V) of a glimpse would make of it."""
        if log_probs.argmax(axis=1).any():  # else blanks alone
            self._glimpsed = self._decoder.preview(log_probs)
            self._glimpsed_s = len(log_probs) * self._recognizer.geometry.frame_s
