"""What a query tells of a name: from the spans of unknown words in it, and from what its user made of the answer.

Pure functions over rows of the store. What is passed over is said with a reason, to be counted.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.errors import ConfigError, TextError
from asr.unknown.letters import pronounce
from asr.unknown.sound import sound_distance
from services.learner.config import EvidenceConfig
from services.learner.names import spoken
from services.learner.spelling import edit_path
from services.store.models import Feedback, Query, Span

_TOP = 3
_LEAST_SHARE = 0.1
"""Spellings of a span that are considered: so many, each with at least this share."""
RETRY_S = 120.0
"""A query that came later after another is not the same one said again."""
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Evidence:
    """That a query seems to hold a name.

    Attributes:
        query_id, span_id: whence; no span if the user alone says so.
        at, user_hash: of the query.
        spellings: likely ones, best first.
        source: ``span`` or ``feedback``.
        proposals: catalogue entries that it may be, with their probabilities, best first.
        founds: whether it may be the first mention of a new name; not if it is spelled in words that are known.
    """

    query_id: str
    span_id: int | None
    at: datetime.datetime
    user_hash: str
    spellings: tuple[str, ...]
    source: str
    proposals: tuple[tuple[str, float], ...] = ()
    founds: bool = True

    @property
    def order(self) -> tuple[datetime.datetime, str, tuple[str, ...], str]:
        """By what it says, not by when it was written into the store."""
        return self.at, self.query_id, self.spellings, self.source


@dataclass(frozen=True, slots=True)
class Judged:
    """What one row of the store was worth.

    Attributes:
        evidence: found in it.
        passed: why there is none, as a word to count; empty if there is.
        explained: what was taken for an unknown word in the query was none.
    """

    evidence: tuple[Evidence, ...] = ()
    passed: str = ""
    explained: bool = False


class Blocklist:
    """Words that no name may hold.

    Args:
        words: in letters.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._words = frozenset(words)
        self._sounds = frozenset(phones for word in self._words for phones in pronounce(word)[:1])

    @classmethod
    def read(cls, paths: Sequence[str]) -> Blocklist:
        """Reads files of a word a line; ``#`` begins a remark. Relative paths are tried in the project's folder too.

        Raises:
            ConfigError: a file that cannot be read.
        """
        words: list[str] = []
        for name in paths:
            path = Path(name) if Path(name).exists() else _ROOT / name
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{name}: cannot be read as a list of blocked words ({error})") from error
            words += [word for line in lines for word in line.partition("#")[0].lower().split()]
        return cls(words)

    def __contains__(self, text: object) -> bool:
        """Whether a word of the text is blocked, or the whole sounds, read as English, just like one that is."""
        if not isinstance(text, str):
            return False
        return not self._words.isdisjoint(text.split()) or pronounce(text)[0] in self._sounds


def of_span(
    span: Span, query: Query, config: EvidenceConfig, known: Container[str], blocked: Container[str] = frozenset()
) -> Judged:
    """What a span is worth.

    Args:
        span: of `query`.
        query: that it is in.
        config: what is passed over.
        known: words that the recogniser knows.
        blocked: words that no name may hold.
    """
    rated = [(str(each["text"]), math.exp(float(each["log_prob"]))) for each in span.spellings]
    spellings = [
        text for text, share in rated[:_TOP] if text.strip() and (share >= _LEAST_SHARE or text == rated[0][0])
    ]
    if query.role != "live":
        return Judged(passed="not live")
    if not spellings:
        return Judged(passed="no spelling")
    reasons = {
        "low score": span.score < config.min_score,
        "noisy": query.snr_db is not None and query.snr_db < config.min_snr_db,
        "too short": len(span.phones or pronounce(spellings[0])[0]) < config.min_phones,
        "too long": len(spellings[0].split()) > config.max_words,
        "blocked": any(text in blocked for text in spellings),
    }
    if passed := next((reason for reason, holds in reasons.items() if holds), ""):
        return Judged(passed=passed)
    proposals = tuple(
        (str(each["name"]), float(each["probability"])) for each in span.proposals if str(each["name"]) not in blocked
    )
    founds = not all(word in known for word in spellings[0].split())
    found = Evidence(query.id, span.id, query.at, query.user_hash, tuple(spellings), "span", proposals, founds)
    return Judged((found,))


def of_feedback(
    feedback: Feedback,
    query: Query,
    spans: Sequence[Span],
    retry: tuple[Query, Sequence[Span]] | None,
    config: EvidenceConfig,
    known: Container[str],
    blocked: Container[str] = frozenset(),
) -> Judged:
    """What a user's reaction is worth.

    A correction names the words; so does a chosen result, as far as it sounds like what was said. What was accepted as
    it was, or corrected to known words, or understood when it was said again, holds no unknown word.

    Args:
        feedback: on `query`.
        query: that it is about.
        spans: of unknown words in it.
        retry: the query that followed and its spans, if the feedback names one that is kept.
        config: how far a word may be from what was heard.
        known: words that the recogniser knows.
        blocked: words that no name may hold.
    """
    if query.role != "live":
        return Judged(passed="not live")
    if feedback.kind == "accepted":
        return Judged(explained=True)
    if feedback.kind == "retried":
        return _of_retry(query, retry)
    if feedback.kind in ("corrected", "chosen"):
        return _of_words(feedback, query.transcript.split(), query, spans, config, known, blocked)
    return Judged(passed="says nothing")


def _of_words(
    feedback: Feedback,
    heard: list[str],
    query: Query,
    spans: Sequence[Span],
    config: EvidenceConfig,
    known: Container[str],
    blocked: Container[str],
) -> Judged:
    try:
        said = spoken(feedback.text).split()
    except TextError:
        return Judged(passed="cannot be spoken")
    if feedback.kind == "corrected":
        runs = _corrected(heard, said, config, known)
    else:
        runs = _chosen(heard, said, spans, config, known)
    if runs is None:
        return Judged(explained=True)
    kept = [run for run in runs if len(run.split()) <= config.max_words and run not in blocked]
    if not kept:
        why = "unlike what was heard" if not runs else "blocked" if any(run in blocked for run in runs) else "too long"
        return Judged(passed=why)
    return Judged(tuple(Evidence(query.id, None, query.at, query.user_hash, (run,), "feedback") for run in kept))


def _of_retry(query: Query, retry: tuple[Query, Sequence[Span]] | None) -> Judged:
    if retry is None:
        return Judged(passed="retry is not kept")
    later, spans = retry
    after_s = (later.at - query.at).total_seconds()
    if later.user_hash != query.user_hash or not 0 <= after_s <= RETRY_S:
        return Judged(passed="no retry")
    understood = not spans and later.transcript and later.transcript != query.transcript
    return Judged(explained=True) if understood else Judged(passed="says nothing")


def _corrected(heard: list[str], said: list[str], config: EvidenceConfig, known: Container[str]) -> list[str] | None:
    """The unknown words of a correction, from the first to the last of each stretch that was changed.

    None if all that is changed is known; nothing if it is too far from what was heard.
    """
    path = edit_path(said, heard)
    changed: list[tuple[list[str], list[str]]] = []
    open_ = False
    for i, j in path:
        if i is not None and j is not None and said[i] == heard[j]:
            open_ = False
            continue
        if not open_:
            changed.append(([], []))
            open_ = True
        if i is not None:
            changed[-1][0].append(said[i])
        if j is not None:
            changed[-1][1].append(heard[j])
    runs, unknown = [], False
    for words, instead in changed:
        places = [place for place, word in enumerate(words) if word not in known]
        if not places:
            continue
        unknown = True
        alike = (
            sound_distance(" ".join(words), " ".join(instead)) <= config.max_sound
            if instead
            else any(i is not None and j is not None for i, j in path)
        )
        if alike:
            runs.append(" ".join(words[places[0] : places[-1] + 1]))
    return runs if unknown else None


def _chosen(
    heard: list[str], title: list[str], spans: Sequence[Span], config: EvidenceConfig, known: Container[str]
) -> list[str]:
    """The unknown words of a result that sound like something in the query."""
    runs: list[list[str]] = []
    for place, word in enumerate(title):
        if word not in known:
            if place and title[place - 1] not in known:
                runs[-1].append(word)
            else:
                runs.append([word])
    sounds = [str(each["text"]) for span in spans for each in span.spellings[:1]]
    found = []
    for run in runs:
        lengths = range(len(run), len(run) + 3)
        parts = [" ".join(heard[at : at + n]) for n in lengths for at in range(len(heard) - n + 1)]
        nearest = min((sound_distance(" ".join(run), part) for part in [*sounds, *parts]), default=1.0)
        if nearest <= config.max_sound / 2:
            found.append(" ".join(run))
    return found
