"""The decoder: from the acoustic model's posteriors to words, in a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from asr.decode import confidence
from asr.decode.config import DecoderConfig
from asr.decode.expected import contexts, expected, whole_names
from asr.decode.greedy import GreedySearch
from asr.decode.hint_text import NO_CONTEXTS, Contexts
from asr.decode.lm import LanguageModel
from asr.decode.respell import distinct, respelled
from asr.decode.stability import Outlook
from asr.decode.types import Hypothesis, LogProbs, Tokens, Word
from asr.errors import ConfigError, InputError

if TYPE_CHECKING:
    from asr.decode.hints import Hints


class Search(Protocol):
    """One stream's search: greedy or beam."""

    @property
    def settled(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def accept(self, log_probs: LogProbs) -> None: ...
    def best(self) -> Hypothesis: ...
    def agreement(self) -> tuple[float, float]: ...
    def preview(self, log_probs: LogProbs) -> tuple[Hypothesis, tuple[float, float]]: ...
    def finish(self, nbest: int) -> list[Hypothesis]: ...


class Decoder:
    """What all streams share; immutable, so that threads may use one.

    Args:
        tokens: the symbols of the acoustic model.
        config: settings.
        frame_s: seconds from one frame of posteriors to the next.
        lm: an n-gram over words; without it the beam sums alignments and nothing else.
    """

    def __init__(self, tokens: Tokens, config: DecoderConfig, frame_s: float, lm: LanguageModel | None = None) -> None:
        if not 0 < frame_s < 1:
            raise ConfigError(f"decoder: frame_s = {frame_s!r} must be seconds between 0 and 1")
        self.tokens, self.config, self.frame_s, self.lm = tokens, config, frame_s, lm
        self.known = frozenset(lm.lexicon) if lm else None
        if config.kind == "beam":
            from asr.decode.beam import BeamModel  # numba is slow to import, and greedy decoding does without

            self._model = BeamModel(tokens, config, lm)
        self._expected = expected(lm) if lm and config.kind == "beam" else ()
        self._contexts = contexts(lm) if lm else NO_CONTEXTS
        self._names = whole_names(lm) if lm else frozenset()
        self._expecting = self.hints(()) if self._expected else None

    def stream(self, hints: Hints | None = None) -> DecoderStream:
        """A new stream at the start of its audio.

        Args:
            hints: phrases that this stream expects, from `hints` of this decoder; greedy decoding ignores them.

        Raises:
            ConfigError: hints of a decoder with other symbols.
        """
        if hints is not None and hints.tokens != self.tokens:
            raise ConfigError("hints: made for a decoder with other symbols; compile them with this decoder's hints()")
        if self.config.kind == "greedy":
            return DecoderStream(self, GreedySearch(self.tokens, self.frame_s))
        from asr.decode.beam import BeamSearch

        hints = hints or self._expecting
        return DecoderStream(self, BeamSearch(self._model, self.frame_s, hints if hints and hints.phrases else None))

    def decode(self, log_probs: LogProbs, nbest: int | None = None, hints: Hints | None = None) -> list[Hypothesis]:
        """Decodes one whole utterance of shape (T, V), best first."""
        stream = self.stream(hints)
        stream.accept(log_probs)
        return stream.finish(nbest)

    def hints(
        self,
        phrases: Iterable[tuple[str, float]],
        classes: Mapping[str, Sequence[str]] | None = None,
        contexts: Contexts | None = None,
    ) -> Hints:
        """Compiles phrase hints for this decoder's streams; see `asr.decode.hints`.

        What the language model expects by itself (`LanguageModel.phrases`) is hinted at too, as far as there is room
        behind the phrases given; what there is none for is counted in the result.

        Args:
            phrases: texts and boosts, -20 to 20; 0 means `DecoderConfig.hint_boost`, negative makes a phrase less
                likely. ``$NAME`` in a text stands for any item of a class.
            classes: items by name.
            contexts: in which some of the phrases are worth more, as names that the language model expects are in its
                own.

        Returns:
            Hints with what cannot be used in `unused`; nothing raises. A greedy decoder can use none.
        """
        from asr.decode.hints import Pricing, compile_hints

        classes = classes or {}
        if self.config.kind == "greedy":
            reason = "greedy decoding takes no hints; set the decoder's kind to beam"
            unused = tuple((text, reason) for text, _ in phrases)
            return replace(compile_hints([], {}, self.tokens, Pricing(1.0, 0.0)), unused=unused)
        given = list(phrases)
        said = {text for text, _ in given}
        own = [phrase for phrase in self._expected if phrase[0] not in said]
        compiled = compile_hints(
            [*given, *own], classes, self.tokens, self._model.pricing, self._contexts.joined(contexts)
        )
        mine = {text for text, _ in own}
        left = [text for text, _ in compiled.unused if text in mine]
        names = sum(text in self._names for text in left)
        unused = tuple(each for each in compiled.unused if each[0] not in mine)
        return replace(compiled, unused=unused, names_left_out=names, spellings_left_out=len(left) - names)

    @property
    def left_out(self) -> tuple[int, int]:
        """Names of the language model, and further spellings, that find no room even in a stream without hints."""
        return (self._expecting.names_left_out, self._expecting.spellings_left_out) if self._expecting else (0, 0)

    def respelled(self, hypothesis: Hypothesis) -> Hypothesis:
        """With what stands for a learned name written as that name."""
        return respelled(hypothesis, self.lm.spans([word.word for word in hypothesis.words])) if self.lm else hypothesis


class DecoderStream:
    """One utterance being decoded. However its frames are cut into calls, the results are the same to the bit."""

    def __init__(self, decoder: Decoder, search: Search) -> None:
        self._decoder, self._search = decoder, search
        self._silent = np.array([not piece for piece in decoder.tokens.pieces])
        self._silent_frames = 0
        self._frames = 0
        self._settled: list[Word] = []
        self._least = 1.0
        self._recent: dict[Word, Word] = {}

    def accept(self, log_probs: LogProbs) -> None:
        """Takes the next frames.

        Args:
            log_probs: (T, V) natural-log posteriors, float32; T may be 0.

        Raises:
            InputError: another shape, or values that are not log-posteriors (NaN, a frame without any mass).
        """
        log_probs = self._checked(log_probs)
        if not len(log_probs):
            return
        self._frames += len(log_probs)
        self._silent_frames = self._silence(log_probs)
        self._search.accept(log_probs)

    def best(self) -> Hypothesis:
        """The best reading so far, its last word perhaps incomplete."""
        return self._decoder.respelled(self._likely(self._search.best()))

    def outlook(self) -> Outlook:
        """The best reading so far with what is known of its future."""
        return Outlook(self.best(), *self._search.agreement(), self.trailing_silence_s)

    def preview(self, log_probs: LogProbs) -> Outlook:
        """`outlook` if these frames (T, V) came next; the stream is left as it is.

        Raises:
            InputError: as `accept`.
        """
        log_probs = self._checked(log_probs)
        best, agreement = self._search.preview(log_probs)
        best = self._decoder.respelled(self._likely(best))
        return Outlook(best, *agreement, self._silence(log_probs) * self._decoder.frame_s)

    def finish(self, nbest: int | None = None) -> list[Hypothesis]:
        """The best distinct texts, at least one, best first; the stream itself is left as it is."""
        config, known = self._decoder.config, self._decoder.known
        readings = self._search.finish(config.nbest if nbest is None else nbest)
        found = distinct([self._decoder.respelled(reading) for reading in readings])
        if config.calibration is None:
            return found
        return [confidence.final(hypothesis, config.calibration, known) for hypothesis in found]

    @property
    def nbytes(self) -> int:
        """Size of the search's arrays in memory."""
        return self._search.nbytes

    @property
    def duration_s(self) -> float:
        """Seconds decoded so far."""
        return self._frames * self._decoder.frame_s

    @property
    def trailing_silence_s(self) -> float:
        """Seconds since the last frame whose best symbol is spoken; all of them if there was none."""
        return self._silent_frames * self._decoder.frame_s

    def _silence(self, log_probs: LogProbs) -> int:
        """Frames since the last one whose best symbol is spoken, if these come next."""
        spoken = np.flatnonzero(~self._silent[log_probs.argmax(axis=1)])
        return len(log_probs) - 1 - int(spoken[-1]) if len(spoken) else self._silent_frames + len(log_probs)

    def _checked(self, log_probs: LogProbs) -> LogProbs:
        log_probs = np.array(log_probs, dtype=np.float32, order="C")  # a copy: one compiled type, nobody else's memory
        if log_probs.ndim != 2 or log_probs.shape[1] != len(self._decoder.tokens):
            raise InputError(f"log_probs: shape {log_probs.shape} is not (frames, {len(self._decoder.tokens)} symbols)")
        if not np.isfinite(log_probs.max(axis=1)).all():
            raise InputError("log_probs: holds NaN or a frame without any probability; the acoustic model is broken")
        return log_probs

    def _likely(self, best: Hypothesis) -> Hypothesis:
        """An interim result with its confidences as probabilities; each word is only looked at once."""
        calibration, known = self._decoder.config.calibration, self._decoder.known
        if calibration is None:
            return best
        new = best.words[len(self._settled) : self._search.settled]
        if new:
            settled = confidence.interim(new, calibration, known)
            self._settled += settled
            self._least = min(self._least, *(word.confidence for word in settled))
        rest = best.words[len(self._settled) :]
        unseen = tuple(word for word in rest if word not in self._recent)
        self._recent |= zip(unseen, confidence.interim(unseen, calibration, known), strict=True)
        self._recent = {word: self._recent[word] for word in rest}
        words = self._recent.values()
        if not (self._settled or words):
            return best
        least = min([self._least, *(word.confidence for word in words)])
        return replace(best, words=(*self._settled, *words), confidence=least)
