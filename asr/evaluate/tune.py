"""Tunes the decoder: the acoustic model has run once, the search runs many times over its posteriors.

The weights are found by pattern search (Hooke and Jeeves 1961): each in turn a step up or down as long as that
helps, then with half the steps. What is minimised is a word error rate in which voice search has a weight of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Any

import jiwer

from asr.config import config_to_json, make_config
from asr.decode import Decoder, DecoderConfig, Hypothesis, LanguageModel, Tokens
from asr.errors import ConfigError
from asr.evaluate.heard import Heard

CORPUS_WEIGHTS: dict[str, float] = {"voice_search": 0.5}
"""Share of a corpus in the objective; the others share the rest by their words."""

STEPS: dict[str, float] = {
    "lm_weight": 0.1,
    "word_bonus": 0.5,
    "unknown_cost": 2.0,
    "spelling_weight": 0.25,
    "unknown_context": 0.25,
}
SPELLED = {"unknown_cost": 4.0, "spelling_weight": 0.5, "unknown_context": 0.25}
"""Where the search begins if spelling has no weight yet and this is better: no single step leads from there to here."""
TOLERANCE = 0.001
"""Settings whose objective is so near the best (0.1 % of words) count as equal; of these, the one that spells most
unknown words right is taken."""
FINALISTS = 4


@dataclass(frozen=True)
class Trial:
    """One setting and what it got wrong.

    Attributes:
        errors: word errors by corpus.
        words: reference words by corpus.
        unknown: reference words that the language model does not know.
        unknown_right: those of them that were recognised.
    """

    config: DecoderConfig
    errors: Mapping[str, int]
    words: Mapping[str, int]
    unknown: int
    unknown_right: int

    @property
    def wer(self) -> float:
        """Of all words together, a fraction."""
        return sum(self.errors.values()) / max(1, sum(self.words.values()))

    @property
    def objective(self) -> float:
        """The word error rate with `CORPUS_WEIGHTS`; the plain one where none of those corpora, or nothing else, is."""
        weighted = {corpus: weight for corpus, weight in CORPUS_WEIGHTS.items() if self.words.get(corpus)}
        rest = [corpus for corpus in self.words if corpus not in weighted]
        if not weighted or not rest:
            return self.wer
        others = sum(self.errors[corpus] for corpus in rest) / max(1, sum(self.words[corpus] for corpus in rest))
        named = sum(weight * self.errors[corpus] / self.words[corpus] for corpus, weight in weighted.items())
        return named + (1.0 - sum(weighted.values())) * others

    def summary(self) -> dict[str, Any]:
        """Settings and figures, for people; rates are fractions."""
        settings = config_to_json(self.config)
        settings.pop("calibration")
        by_corpus = {corpus: round(self.errors[corpus] / max(1, self.words[corpus]), 5) for corpus in self.words}
        return {
            **settings,
            "objective": round(self.objective, 5),
            "wer": round(self.wer, 5),
            "wer_by_corpus": by_corpus,
            "unknown_words": self.unknown,
            "unknown_words_right": self.unknown_right,
        }


class Listener:
    """Decodes the same utterances under many settings, in this process or in several.

    Args:
        heard: posteriors.
        tokens: of the acoustic model.
        frame_s: seconds per frame.
        lm_path: language model; None for none.
        processes: 1 stays in this process.
    """

    def __init__(
        self, heard: Sequence[Heard], tokens: Tokens, frame_s: float, lm_path: Path | None, *, processes: int = 1
    ) -> None:
        self.heard = heard
        self._arguments = (list(heard), tokens, frame_s, lm_path)
        self._processes = min(processes, len(heard)) or 1
        self._pool: ProcessPoolExecutor | None = None
        self._here = _Worker(*self._arguments)
        self.known = frozenset(self._here.lm.words) if self._here.lm else None

    def __enter__(self) -> Listener:
        if self._processes > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, context, _set_up, self._arguments)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    @property
    def digest(self) -> str:
        """Names utterances and language model."""
        digest = hashlib.sha256(self._arguments[3].read_bytes() if self._arguments[3] else b"")
        for item in self.heard:
            digest.update(f"{item.corpus}\t{item.text}\n".encode() + item.log_probs.tobytes())
        return digest.hexdigest()[:12]

    def hypotheses(
        self, config: DecoderConfig, items: Iterable[int] | None = None, *, interim: bool = False, lm: bool = True
    ) -> list[Hypothesis]:
        """The best reading of each utterance.

        Args:
            config: settings.
            items: indices of utterances; None for all.
            interim: the last interim reading instead of the final one.
            lm: whether the language model takes part.
        """
        indices = list(range(len(self.heard))) if items is None else list(items)
        if self._pool is None:
            return self._here.decode(config, indices, interim, lm)
        shares = [indices[start :: self._processes] for start in range(self._processes)]
        found: dict[int, Hypothesis] = {}
        parts = self._pool.map(_decode, repeat(config), shares, repeat(interim), repeat(lm))
        for share, part in zip(shares, parts, strict=True):
            found.update(zip(share, part, strict=True))
        return [found[index] for index in indices]

    def trial(self, config: DecoderConfig, items: Iterable[int] | None = None) -> Trial:
        """Decodes and counts."""
        indices = list(range(len(self.heard))) if items is None else list(items)
        return count(config, [self.heard[i] for i in indices], self.hypotheses(config, indices), self.known)


class _Worker:
    """What decodes in one process."""

    def __init__(self, heard: list[Heard], tokens: Tokens, frame_s: float, lm_path: Path | None) -> None:
        self._heard, self._tokens, self._frame_s = heard, tokens, frame_s
        self.lm = LanguageModel.load(lm_path) if lm_path else None

    def decode(self, config: DecoderConfig, indices: Sequence[int], interim: bool, lm: bool) -> list[Hypothesis]:
        decoder = Decoder(self._tokens, config, self._frame_s, self.lm if lm else None)
        found: list[Hypothesis] = []
        for index in indices:
            stream = decoder.stream()
            stream.accept(self._heard[index].log_probs)
            found.append(stream.best() if interim else stream.finish(1)[0])
        return found


_worker: _Worker | None = None


def _set_up(heard: list[Heard], tokens: Tokens, frame_s: float, lm_path: Path | None) -> None:
    global _worker  # noqa: PLW0603 (a pool has no other place for what its processes keep)
    _worker = _Worker(heard, tokens, frame_s, lm_path)


def _decode(config: DecoderConfig, indices: Sequence[int], interim: bool, lm: bool) -> list[Hypothesis]:
    assert _worker is not None
    return _worker.decode(config, indices, interim, lm)


class TrialLog:
    """Trials in a file, one a line, so that an interrupted search goes on where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, trial: Trial) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        row = {**vars(trial), "config": config_to_json(trial.config)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def read(self) -> dict[str, Trial]:
        """Trials by `key`; a line that was cut short, or is of another version's settings, is passed over."""
        trials: dict[str, Trial] = {}
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, ConfigError):
                row = json.loads(line)
                config = make_config(DecoderConfig, row.pop("config"), str(self._path))
                trials[key(config)] = Trial(config, **row)
        return trials


def count(
    config: DecoderConfig, heard: Sequence[Heard], hypotheses: Sequence[Hypothesis], known: frozenset[str] | None
) -> Trial:
    """Word errors by corpus, and the fate of words outside `known` (None: all words are known)."""
    errors: dict[str, int] = {}
    words: dict[str, int] = {}
    unknown = unknown_right = 0
    for item, hypothesis in zip(heard, hypotheses, strict=True):
        spoken = item.text.split()
        aligned = jiwer.process_words(item.text, hypothesis.text)
        wrong = aligned.substitutions + aligned.deletions + aligned.insertions
        errors[item.corpus] = errors.get(item.corpus, 0) + wrong
        words[item.corpus] = words.get(item.corpus, 0) + len(spoken)
        if known is not None:
            strange = {place for place, word in enumerate(spoken) if word not in known}
            unknown += len(strange)
            for chunk in aligned.alignments[0]:
                if chunk.type == "equal":
                    unknown_right += len(strange.intersection(range(chunk.ref_start_idx, chunk.ref_end_idx)))
    return Trial(config, errors, words, unknown, unknown_right)


def subset(heard: Sequence[Heard], frames: int) -> list[int]:
    """Indices of utterances of about so many frames in all: corpora with their own weight whole, evenly of the rest."""
    first = [index for index, item in enumerate(heard) if item.corpus in CORPUS_WEIGHTS]
    rest = [index for index, item in enumerate(heard) if item.corpus not in CORPUS_WEIGHTS]
    left = frames - sum(len(heard[index].log_probs) for index in first)
    length = sum(len(heard[index].log_probs) for index in rest)
    share = min(1.0, max(0.1, left / max(1, length)))
    taken = [rest[int(place / share)] for place in range(int(len(rest) * share))]
    return sorted([*first, *taken])


def tune(
    listener: Listener,
    start: DecoderConfig,
    *,
    frames: int = 90_000,
    log: TrialLog | None = None,
    report: Callable[[Trial, bool], None] = lambda _, __: None,
) -> Trial:
    """Finds the best weights; the beam stays as it is.

    The search runs on a `subset`; the best few settings, and the first, then meet on all utterances.

    Args:
        listener: holds the utterances to tune on; report figures on others.
        start: settings to begin with, or with `SPELLED`.
        frames: of the subset.
        log: of trials on the subset; those that it holds are not run again.
        report: told of every trial, and whether it was on all utterances.

    Returns:
        The winner's trial on all utterances.
    """
    start = dataclasses.replace(start, calibration=None)
    items = subset(listener.heard, frames)
    done = log.read() if log else {}
    seen: dict[str, Trial] = {}

    def attempt(config: DecoderConfig) -> Trial:
        if (name := key(config)) not in seen:
            seen[name] = done[name] if name in done else listener.trial(config, items)
            report(seen[name], False)
            if log and name not in done:
                log.add(seen[name])
        return seen[name]

    best = attempt(start)
    if not start.spelling_weight:
        spelled = make_config(DecoderConfig, {**config_to_json(start), **SPELLED}, "tuning")
        best = min(best, attempt(spelled), key=lambda trial: trial.objective)
    for scale in (1.0, 0.5):
        improved = True
        while improved:
            improved = False
            for name, step in STEPS.items():
                for direction in (step * scale, -step * scale):
                    while (config := _moved(best.config, name, direction)) is not None:
                        trial = attempt(config)
                        if trial.objective >= best.objective:
                            break
                        best, improved = trial, True
    finalists = sorted(seen.values(), key=lambda trial: trial.objective)[:FINALISTS]
    configs = {key(config): config for config in [start, *(trial.config for trial in finalists)]}
    trials = [listener.trial(config) for config in configs.values()]
    for trial in trials:
        report(trial, True)
    limit = min(trial.objective for trial in trials) + TOLERANCE
    return min((t for t in trials if t.objective <= limit), key=lambda t: (-t.unknown_right, t.objective))


def key(config: DecoderConfig) -> str:
    """Names settings."""
    return " ".join(f"{name}={value}" for name, value in config_to_json(config).items() if name != "calibration")


def _moved(config: DecoderConfig, name: str, by: float) -> DecoderConfig | None:
    value = round(getattr(config, name) + by, 6)
    if value < 0 and name != "word_bonus":
        return None
    return make_config(DecoderConfig, {**config_to_json(config), name: value}, name)
