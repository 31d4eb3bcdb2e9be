"""What the simulated users say and what is heard of it: real recognitions of synthetic speech, measured once.

Ordinary queries and queries with names that the recogniser does not know go through a bundle in quiet and in a car;
what the query log would keep of each is written down. `services.learner.simulate` draws from that, so that confidences,
false alarms of unknown words, misspellings of names and estimated SNR are those of the real recogniser.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.errors import InputError

if TYPE_CHECKING:
    from asr.recognize import Recognizer

DEFAULT = Path(__file__).parents[2] / "data" / "simulate.jsonl"
LEVELS_DB = (None, 15.0, 5.0)
"""Signal-to-noise ratios of the car; None is quiet."""
TEMPLATES = ("who is {}", "play {}", "tell me about {}", "show me pictures of {}", "how old is {}", "news about {}")
PLAIN = "plain"
_SILENCE_S = 0.4
_WORD = ("word", "start_s", "end_s", "confidence")


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a query log would keep of one recording.

    Attributes:
        group: `PLAIN`, or the name in it.
        level_db: see `LEVELS_DB`.
        said: the words.
        transcript, confidence: of the best hypothesis.
        words: [{"word", "start_s", "end_s", "confidence"}].
        audio_s: seconds.
        snr_db: as estimated; None where it cannot be.
        log_perplexity: natural log of the language model's perplexity of the transcript; None if nothing was heard.
        spans: unknown words, with the fields of `services.store.models.Span`.
    """

    group: str
    level_db: float | None
    said: str
    transcript: str
    confidence: float
    words: list[dict[str, Any]]
    audio_s: float
    snr_db: float | None
    log_perplexity: float | None
    spans: list[dict[str, Any]]


@dataclass(frozen=True)
class Pool:
    """Recognitions to draw from.

    Attributes:
        source: bundle, seed and voices that they come from.
        plain: ordinary queries by level.
        names: queries with a name, by name and level.
    """

    source: Mapping[str, Any]
    plain: Mapping[float | None, Sequence[Recognised]]
    names: Mapping[str, Mapping[float | None, Sequence[Recognised]]]

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """Words of the ordinary queries as they were said: stands for the lexicon where no bundle is at hand."""
        return frozenset(word for items in self.plain.values() for item in items for word in item.said.split())

    def perplexity(self, text: str) -> float | None:
        """See `services.learner.monitor.Perplexity`."""
        return self._perplexities.get(text)

    @functools.cached_property
    def _perplexities(self) -> dict[str, float | None]:
        groups = [self.plain, *self.names.values()]
        return {item.transcript: item.log_perplexity for group in groups for items in group.values() for item in items}


def read_pool(path: str | Path | None = None) -> Pool:
    """Reads what `write_pool` wrote.

    Raises:
        InputError: unreadable, or without ordinary queries.
    """
    path = Path(path or DEFAULT)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        source = json.loads(lines[0])
        items = [_unpacked(json.loads(line)) for line in lines[1:]]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(
            f"{path}: cannot be read as a pool of recognitions ({error}); make one with dengar simulate --measure"
        ) from error
    names = [name for name in dict.fromkeys(item.group for item in items) if name != PLAIN]
    pool = Pool(source, _by_level(items, PLAIN), {name: _by_level(items, name) for name in names})
    if not pool.plain:
        raise InputError(f"{path}: holds no ordinary queries; make another pool with dengar simulate --measure")
    return pool


def write_pool(path: str | Path, source: Mapping[str, Any], items: Iterable[Recognised]) -> None:
    """A line of JSON that says where all comes from, then one for each recognition."""
    rows = [{**{name: getattr(item, name) for name in Recognised.__slots__}, "words": _packed(item)} for item in items]
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in [source, *rows])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def measure(
    recognizer: Recognizer,
    recordings: Sequence[tuple[str, Samples]],
    names: Sequence[str],
    voices: Sequence[str],
    *,
    augment: str | Path,
    seed: int,
    report: Callable[[int, int], None] = lambda *_: None,
) -> list[Recognised]:
    """Recognises ordinary queries, and names in queries by several voices, at every level of noise.

    Args:
        recognizer: the bundle.
        recordings: words and samples of ordinary queries, shape (T,).
        names: to speak.
        voices: ``engine:name`` of those that speak them.
        augment: file of the car's noise.
        seed: of the noise.
        report: called with how many are done, of how many.
    """
    from asr.synth.engine import loaded_engine, trim_silence
    from asr.synth.voices import find
    from asr.train.prepare import augmenter_of

    spoken = [(PLAIN, said, samples) for said, samples in recordings]
    for name in names:
        for place, key in enumerate(voices):
            voice = find(key)
            said = TEMPLATES[place % len(TEMPLATES)].format(name)
            speed = (0.9, 1.0, 1.1)[place % 3]
            spoken.append((name, said, trim_silence(loaded_engine(voice.engine).speak(said, voice, speed))))
    pause = np.zeros(round(_SILENCE_S * SAMPLE_RATE_HZ), np.float32)
    found = []
    for level in LEVELS_DB:
        noisy = None if level is None else augmenter_of(str(augment), seed, snr_db=level)
        for place, (group, said, samples) in enumerate(spoken):
            heard = np.concatenate([pause, samples, pause])
            if noisy is not None:
                heard, _ = noisy.apply(heard, f"{group} {place}")
            found.append(recognise(recognizer, heard, group, level, said))
            report(len(found), len(spoken) * len(LEVELS_DB))
    return found


def recognise(recognizer: Recognizer, samples: Samples, group: str, level: float | None, said: str) -> Recognised:
    """What the query log would keep of one recording, shape (T,)."""
    from asr.snr import estimate_snr_db
    from asr.unknown import find_unknown

    stream = recognizer.stream(keep_posteriors=True)
    stream.accept(samples)
    best = stream.finish()[0]
    spans = find_unknown(stream.posteriors, best, recognizer.decoder, recognizer.bundle.unknown)
    snr_db = estimate_snr_db(samples, best.words[0].start_s, best.words[-1].end_s) if best.words else None
    lm = recognizer.decoder.lm
    return Recognised(
        group=group,
        level_db=level,
        said=said,
        transcript=best.text,
        confidence=round(best.confidence, 4),
        words=[
            {
                "word": word.word,
                "start_s": round(word.start_s, 2),
                "end_s": round(word.end_s, 2),
                "confidence": round(word.confidence, 3),
            }
            for word in best.words
        ],
        audio_s=round(len(samples) / SAMPLE_RATE_HZ, 2),
        snr_db=None if snr_db is None else round(snr_db, 2),
        log_perplexity=round(float(np.log(lm.fit([best.text]).perplexity)), 3) if lm and best.text else None,
        spans=[
            {
                "start_s": round(span.start_s, 2),
                "end_s": round(span.end_s, 2),
                "heard": " ".join(span.heard),
                "before": " ".join(span.before),
                "after": " ".join(span.after),
                "spellings": [{"text": each.text, "log_prob": round(each.log_prob, 3)} for each in span.spellings[:4]],
                "phones": span.phones,
                "score": round(span.score, 4),
            }
            for span in spans
        ],
    )


def _packed(item: Recognised) -> list[list[Any]]:
    return [[word[name] for name in _WORD] for word in item.words]


def _unpacked(row: dict[str, Any]) -> Recognised:
    return Recognised(**{**row, "words": [dict(zip(_WORD, word, strict=True)) for word in row["words"]]})


def _by_level(items: Iterable[Recognised], group: str) -> dict[float | None, list[Recognised]]:
    levels: dict[float | None, list[Recognised]] = {}
    for item in items:
        if item.group == group:
            levels.setdefault(item.level_db, []).append(item)
    return levels
