"""Figures of the traffic, window by window: counts and histograms that can be added up and compared.

A window holds no words and nobody's hash, so it may outlive the queries that it was counted from. One user adds at most
`MonitorConfig.per_user_a_day` queries to the figures of a (UTC) day: whoever floods the service does not look like
all others having changed.
"""

from __future__ import annotations

import datetime
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.learner.config import MonitorConfig
from services.store.models import Query, Span, Window

Perplexity = Callable[[str], float | None]
"""Of a text: natural log of its perplexity per known word, or None where it has none."""

VERSION = 1
"""Of what windows hold; others are not compared."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of the queries.

    Attributes:
        about: in words, for alarms.
        of: whether a query counts, from what is known of it.
    """

    about: str
    of: Callable[[Seen], bool]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A number for each query, in bins.

    Attributes:
        about: in words, for alarms.
        unit: of it.
        edges: between bins, ascending; the first and the last bin are open.
        of: the number, or None where the query has none.
    """

    about: str
    unit: str
    edges: tuple[float, ...]
    of: Callable[[Seen], float | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the figures look at in one query.

    Attributes:
        text: transcript.
        confidence: of it.
        low_confidence: whether that is below `MonitorConfig.low_confidence`.
        unknown: whether it has a span of unknown words.
        snr_db: None where it was not estimated.
        letters_per_s: from the first word's start to the last one's end; None below two words.
        log_perplexity: see `Perplexity`.
    """

    text: str
    confidence: float
    low_confidence: bool
    unknown: bool
    snr_db: float | None
    letters_per_s: float | None
    log_perplexity: float | None


def _even(low: float, high: float, bins: int) -> tuple[float, ...]:
    return tuple(low + (high - low) * place / bins for place in range(bins + 1))


FIGURES: dict[str, Rate | Distribution] = {
    "unknown_rate": Rate("queries with unknown words", lambda seen: seen.unknown),
    "rejected_rate": Rate("queries answered with low confidence", lambda seen: bool(seen.text) and seen.low_confidence),
    "empty_rate": Rate("queries in which no word was heard", lambda seen: not seen.text),
    "confidence": Distribution(
        "confidence of answers", "", _even(0.0, 1.0, 50), lambda seen: seen.confidence if seen.text else None
    ),
    "snr_db": Distribution("signal-to-noise ratio", "dB", _even(-10.0, 50.0, 60), lambda seen: seen.snr_db),
    "speaking_rate": Distribution(
        "letters spoken in a second", "1/s", _even(2.0, 32.0, 60), lambda seen: seen.letters_per_s
    ),
    "query_words": Distribution(
        "words in a query", "", _even(0.5, 20.5, 20), lambda seen: len(seen.text.split()) if seen.text else None
    ),
    "perplexity": Distribution(
        "log10 of the language model's perplexity of an answer", "", _even(0.0, 6.0, 60),
        lambda seen: None if seen.log_perplexity is None else seen.log_perplexity / math.log(10.0),
    ),
}  # fmt: skip
"""By name; a new figure is one line here."""


def speaking_rate(words: Sequence[dict[str, Any]]) -> float | None:
    """Letters in a second of speech, from ``{"word", "start_s", "end_s"}``; None below two words or without time."""
    if len(words) < 2:
        return None
    seconds = float(words[-1]["end_s"]) - float(words[0]["start_s"])
    return sum(len(word["word"]) for word in words) / seconds if seconds > 0.1 else None


def count(queries: Iterable[Seen], left_out: int = 0) -> dict[str, Any]:
    """The figures of some queries, as `Window.figures` holds them.

    Args:
        queries: that count.
        left_out: how many more there were, beyond what their users may add.
    """
    rates: Counter[str] = Counter()
    histograms = {
        name: [0] * (len(figure.edges) + 1) for name, figure in FIGURES.items() if isinstance(figure, Distribution)
    }
    total = 0
    for seen in queries:
        total += 1
        for name, figure in FIGURES.items():
            if isinstance(figure, Rate):
                rates[name] += figure.of(seen)
            elif (value := figure.of(seen)) is not None:
                histograms[name][bisect_right(figure.edges, value)] += 1
    return {
        "version": VERSION,
        "queries": total,
        "left_out": left_out,
        "rates": {name: rates[name] for name, figure in FIGURES.items() if isinstance(figure, Rate)},
        "histograms": histograms,
    }


def window_start(at: datetime.datetime, window_s: int) -> datetime.datetime:
    """The beginning of the window that a time lies in."""
    seconds = int(at.timestamp())
    return datetime.datetime.fromtimestamp(seconds - seconds % window_s, datetime.UTC)


def measure_window(
    session: Session, start: datetime.datetime, config: MonitorConfig, perplexity: Perplexity | None = None
) -> dict[str, Any]:
    """Counts the live queries of one window.

    Args:
        session: of the store.
        start: of the window.
        config: its length, and what one user may add.
        perplexity: by the language model that is served; without it there is no such figure.
    """
    end = start + datetime.timedelta(seconds=config.window_s)
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    live = Query.role == "live"
    rows = session.execute(
        select(Query.id, Query.user_hash, Query.transcript, Query.confidence, Query.words, Query.snr_db)
        .where(live, Query.at >= start, Query.at < end)
        .order_by(Query.at, Query.id)
    ).all()
    if not rows:
        return count([])
    spans = select(Span.query_id).join(Query, Query.id == Span.query_id).where(live, Query.at >= start, Query.at < end)
    unknown = set(session.scalars(spans))
    before = (
        select(Query.user_hash, func.count()).where(live, Query.at >= day, Query.at < start).group_by(Query.user_hash)
    )
    added: Counter[str] = Counter(dict(session.execute(before).all()))
    seen, left_out = [], 0
    for query_id, user, text, confidence, words, snr_db in rows:
        added[user] += 1
        if added[user] > config.per_user_a_day:
            left_out += 1
            continue
        seen.append(
            Seen(
                text=text,
                confidence=confidence,
                low_confidence=confidence < config.low_confidence,
                unknown=query_id in unknown,
                snr_db=snr_db,
                letters_per_s=speaking_rate(words),
                log_perplexity=perplexity(text) if perplexity and text else None,
            )
        )
    return count(seen, left_out)


def update_windows(
    session: Session, now: datetime.datetime, config: MonitorConfig, perplexity: Perplexity | None = None
) -> int:
    """Counts the windows that have ended and are not counted yet, and once more the last of those that are.

    A query may be written a moment after its window has ended, hence the second time. What it writes depends on
    the store alone, so it may be repeated, or stopped and begun again.

    Args:
        session: of the store; the caller commits.
        now: windows that end later are not counted yet.
        config: see `MonitorConfig`; windows older than all that is compared are not made up for.
        perplexity: see `measure_window`.

    Returns:
        How many windows were counted.
    """
    step = datetime.timedelta(seconds=config.window_s)
    end = window_start(now, config.window_s)
    oldest = end - datetime.timedelta(hours=config.current_h + 2 * config.reference_h)
    first = session.scalar(select(func.min(Query.at)))
    if first is None:
        return 0
    last = session.scalar(select(func.max(Window.at)).where(Window.seconds == config.window_s))
    start = max(oldest, window_start(first, config.window_s) if last is None else last)
    counted = 0
    while start + step <= end:
        figures = measure_window(session, start, config, perplexity)
        session.merge(Window(at=start, seconds=config.window_s, figures=figures))
        start += step
        counted += 1
    return counted
