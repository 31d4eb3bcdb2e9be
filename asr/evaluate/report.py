"""Self-contained HTML reports: one file, no external resource, everything in it that is needed to judge a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from asr.audio import Samples
from asr.corpus.pictures import audio_bytes, data_uri
from asr.evaluate.charts import reliability_svg, snr_ladder_svg
from asr.evaluate.compare import Comparison
from asr.evaluate.evaluation import Evaluation, SliceResult
from asr.evaluate.measure import score
from asr.evaluate.results import Results, ScoredUtterance
from asr.evaluate.statistics import MIN_UNITS

MAX_ROWS = 2000
AUDIO_BUDGET_MB = 5.0
MATRIX_WORDS = 24
"""Tests with at most this many different spoken words, such as digits, get a whole confusion matrix."""

AudioOf = Callable[[ScoredUtterance], Samples | None]


@dataclass(frozen=True, slots=True)
class _Row:
    """One utterance of the report's list."""

    key: str
    speaker: str
    duration_s: float
    errors: int
    words: int
    confidence: float
    pairs: tuple[tuple[str, str], ...]
    audio: str | None

    @property
    def wer(self) -> float:
        return self.errors / max(self.words, 1)


def evaluation_html(
    results: Results, evaluation: Evaluation, *, audio: AudioOf | None = None, audio_budget_mb: float = AUDIO_BUDGET_MB
) -> str:
    """Renders the error report of one run.

    Args:
        results: the items.
        evaluation: what was measured on them.
        audio: gives an item's samples of shape (T,) at 16 kHz, or None where they cannot be had.
        audio_budget_mb: the worst utterances are made playable until their sounds take this many megabytes.
    """
    rows = _rows(results, audio, audio_budget_mb)
    ladder = [part for part in evaluation.slices if part.dimension == "snr"]
    return _environment().get_template("evaluation.html").render(
        evaluation=evaluation,
        min_units=MIN_UNITS,
        slices=_worst_first(evaluation.slices),
        ladder=Markup(snr_ladder_svg(ladder)) if len(ladder) > 1 else None,
        reliability=Markup(reliability_svg(evaluation.calibration)) if evaluation.calibration else None,
        rows=rows[:MAX_ROWS],
        rows_in_all=len(rows),
        playable=sum(row.audio is not None for row in rows),
        matrix=_matrix(evaluation),
        settings=dict(_flat(evaluation.settings)),
    )  # fmt: skip


def comparison_html(comparison: Comparison) -> str:
    """Renders the comparison of two runs."""
    tested = [part for part in comparison.slices if part.p_holm is not None]
    small = [part for part in comparison.slices if part.p_holm is None]
    return _environment().get_template("comparison.html").render(
        comparison=comparison,
        slices=sorted(tested, key=lambda part: part.test.difference) + small,
        span=max([0.01, *(max(abs(p.test.low or 0.0), abs(p.test.high or 0.0)) for p in tested)]),
        min_units=MIN_UNITS,
        rows=comparison.flips[:MAX_ROWS],
        settings=dict(_flat(comparison.settings)),
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("asr.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["p"] = _p_value
    return environment


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def _p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _worst_first(slices: Sequence[SliceResult]) -> list[SliceResult]:
    """Slices of dimensions that divide the test, highest word error rate first, small ones at the end."""
    divided = {part.dimension for part in slices if sum(part.dimension == other.dimension for other in slices) > 1}
    kept = [part for part in slices if part.dimension in divided]
    return sorted(kept, key=lambda part: (part.units < MIN_UNITS, -(part.wer.value or 0.0)))


def _rows(results: Results, audio: AudioOf | None, budget_mb: float) -> list[_Row]:
    scored = score(results)
    pairs = sorted(
        zip(scored.items, scored.alignments, strict=True),
        key=lambda pair: (-pair[1].words.errors, -pair[1].words.errors / pair[1].words.length, pair[0].key),
    )
    rows, left = [], budget_mb * 1e6
    for item, alignment in pairs:
        sound = None
        if audio is not None and left > 0 and alignment.words.errors and (samples := audio(item)) is not None:
            sound = data_uri(audio_bytes(samples), "audio/ogg")
            left -= len(sound)
        rows.append(
            _Row(
                item.key,
                item.utterance.speaker,
                item.utterance.duration,
                alignment.words.errors,
                alignment.words.length,
                item.confidence,
                alignment.pairs,
                sound,
            )
        )
    return rows


def _matrix(evaluation: Evaluation) -> dict[str, Any] | None:
    """Counts of each spoken word (rows) heard as each word, as another word or not at all (columns)."""
    spoken = sorted((word for word in evaluation.words if word.count), key=lambda word: word.word)
    if not 2 <= len(spoken) <= MATRIX_WORDS:
        return None
    names = [word.word for word in spoken]
    pairs = {(c.reference, c.hypothesis): c.count for c in evaluation.confusions}
    cells = {}
    for word in spoken:
        row = [word.hits if name == word.word else pairs.get((word.word, name), 0) for name in names]
        cells[word.word] = [*row, word.count - word.deletions - sum(row), word.deletions]
    return {"columns": [*names, "another", "nothing"], "rows": cells, "counts": {w.word: w.count for w in spoken}}


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{key}", str(value)
