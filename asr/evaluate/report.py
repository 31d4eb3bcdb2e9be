"""Self-contained HTML reports: one file, no external resource, everything in it that is needed to judge a run.

The numbers are those of `asr.evaluate.findings` and `asr.evaluate.compare`; nothing is measured here. Everything
stands in the page as text and as bars that the style sheet draws; only the lists of utterances, which may be long, are
embedded as JSON and drawn by the page's own script as far as someone scrolls. A content security policy lets that
script run and no other, and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from asr.errors import ConfigError
from asr.evaluate.charts import reliability_svg, snr_ladder_svg
from asr.evaluate.compare import Comparison
from asr.evaluate.evaluation import Evaluation, Rate
from asr.evaluate.findings import Findings, Gap, Ladder
from asr.evaluate.statistics import MIN_UNITS
from asr.evaluate.utterances import (
    AudioOf,
    UtteranceList,
    conditions,
    embedded,
    flip_rows,
    utterance_list,
    with_media,
    within,
)

AUDIO_BUDGET_MB = 5.0
MATRIX_WORDS = 24
"""Tests with at most this many different spoken words, such as digits, get a whole confusion matrix."""
TOP_WORDS, MOST_WORDS, MOST_PROBLEMS = 50, 200, 200
_SLACK = 2_000  # bytes that sentences about what was left out may take more


@dataclass(frozen=True, slots=True)
class _DrawnRung:
    """A rung as drawn.

    Attributes:
        name, source, utterances: as in `asr.evaluate.findings.Rung`.
        rate: None where missing.
        base: where the rung before ends, at most the rung's own rate.
        gap: the step from there.
        largest: whether that step is the largest clear one.
    """

    name: str
    source: str
    utterances: int
    rate: Rate | None
    base: float
    gap: Gap | None
    largest: bool


def report_html(
    findings: Findings,
    *,
    comparison: Comparison | None = None,
    audio: AudioOf | None = None,
    audio_budget_mb: float = AUDIO_BUDGET_MB,
    max_mb: float | None = None,
) -> str:
    """Renders the report of one run, and beside it how it compares with another.

    Args:
        findings: the numbers.
        comparison: of this run (B) with another (A).
        audio: gives an utterance's samples of shape (T,) at 16 kHz, or None where they cannot be had.
        audio_budget_mb: the worst utterances get sound and picture until these take so many megabytes.
        max_mb: the whole page takes at most so many megabytes: sounds, then the utterances with fewest errors are
            left out, and the page says how many.

    Raises:
        ConfigError: the page does not fit into `max_mb` even without its list of utterances.
    """
    utterances = utterance_list(findings.utterances)
    budget = int(audio_budget_mb * 1e6)
    render = _renderer(findings, comparison)
    if max_mb is not None:
        room = int(max_mb * 1e6) - _size(render(within(utterances, 0))) - _SLACK
        if room < 0:
            raise ConfigError(
                f"the report does not fit into {max_mb:g} MB: without any utterance it takes "
                f"{(int(max_mb * 1e6) - room) / 1e6:.2f} MB; allow at least that much"
            )
        utterances = within(utterances, room)
        budget = min(budget, room - _size(embedded(utterances.to_json())))
    return render(with_media(utterances, audio, budget) if audio else utterances)


def comparison_html(comparison: Comparison) -> str:
    """Renders the comparison of two runs alone."""
    return _render("comparison.html", **_compared(comparison), settings=dict(_flat(comparison.settings)))


def _renderer(findings: Findings, comparison: Comparison | None) -> Callable[[UtteranceList], str]:
    """Draws everything but the list of utterances, once; the result renders the page around such a list."""
    evaluation, fairness = findings.evaluation, findings.fairness
    ratios = [part for part in evaluation.slices if part.dimension == "snr"]
    rungs = _rungs(findings.ladder)
    values = {
        "findings": findings,
        "bundle_hash": str(evaluation.settings.get("bundle_hash", "")),
        "level": evaluation.settings.get("resampling", {}).get("level", 0.95),
        "conditions": conditions(findings.utterances),
        "rungs": rungs,
        "ladder_scale": _top([rung.rate for rung in rungs if rung.rate]),
        "slice_scale": _top([part.result.wer for part in findings.slices]),
        "fairness_scale": _top([group.wer for group in fairness.groups]),
        "fairness_counts": Counter(pair.verdict for pair in fairness.differences),
        "ladder": Markup(snr_ladder_svg(ratios)) if len(ratios) > 1 else None,
        "reliability": Markup(reliability_svg(findings.calibration.bins)) if findings.calibration.words else None,
        "matrix": _matrix(evaluation),
        "settings": dict(_flat(evaluation.settings)),
        "top": TOP_WORDS,
        **(_compared(comparison) if comparison else {"comparison": None}),
    }
    parts = [
        ("next", "What to do next"),
        ("slices", "Where the errors are" if findings.slices else ""),
        ("comparison", "B against A" if comparison else ""),
        ("flips", "What changed" if comparison else ""),
        ("confidence", "Noise and confidence" if len(ratios) > 1 or findings.calibration.words else ""),
        ("shape", "When it errs" if findings.breakdowns else ""),
        ("words", "Words"),
        ("fairness", "Fairness" if fairness.groups else ""),
        ("utterances", "Utterances"),
    ]

    def render(utterances: UtteranceList) -> str:
        return _render(
            "report.html",
            parts=[part for part in parts if part[1]],
            utterances=utterances,
            utterances_json=embedded(utterances.to_json()),
            **{"min_units": MIN_UNITS, "most_problems": MOST_PROBLEMS, **values},
        )

    return render


def _compared(comparison: Comparison) -> dict[str, Any]:
    """What the template of a comparison needs."""
    tested = [part for part in comparison.slices if part.p_holm is not None]
    small = [part for part in comparison.slices if part.p_holm is None]
    return {
        "comparison": comparison,
        "compared_slices": sorted(tested, key=lambda part: part.test.difference) + small,
        "compared_span": max([0.01, *(max(abs(p.test.low or 0.0), abs(p.test.high or 0.0)) for p in tested)]),
        "flips": embedded(flip_rows(comparison.flips)),
        "flip_counts": Counter(flip.kind for flip in comparison.flips),
        "min_units": MIN_UNITS,
        "most_words": MOST_WORDS,
        "most_problems": MOST_PROBLEMS,
    }


def _rungs(ladder: Ladder) -> list[_DrawnRung]:
    """Rungs as drawn: those measured with their steps, and the missing ones."""
    steps = {gap.upper: (gap, index == ladder.largest) for index, gap in enumerate(ladder.gaps)}
    rates = {rung.name: rung.wer.value or 0.0 for rung in ladder.rungs if rung.wer is not None}
    drawn = []
    for rung in ladder.rungs:
        gap, largest = steps.get(rung.name, (None, False))
        own = rates.get(rung.name, 0.0)
        base = min(own, rates.get(gap.lower, 0.0)) if gap else own
        drawn.append(_DrawnRung(rung.name, rung.source, rung.utterances, rung.wer, base, gap, largest))
    return drawn if rates else []


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
        elif isinstance(value, list | tuple) and any(isinstance(entry, dict) for entry in value):
            for number, entry in enumerate(value, start=1):
                yield from _flat({f"{key}.{number}": entry}, prefix)
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(map(_place, value))
        else:
            yield f"{prefix}{key}", _place(value)


def _place(value: Any) -> str:
    """A setting to print; of an absolute path only the end, since a page may leave the machine it was made on."""
    path = PurePath(str(value))
    return "/".join(path.parts[-2:]) if path.is_absolute() else str(value)


def _render(template: str, **values: Any) -> str:
    html = _environment().get_template(template).render(
        style=Markup(_asset("style.css")), script=Markup(_asset("page.js")), script_hash=_script_hash(), **values
    )  # fmt: skip
    return html.encode("utf-8", "replace").decode("utf-8")  # a hypothesis may hold what is no character


@cache
def _asset(name: str) -> str:
    return resources.files("asr.evaluate").joinpath("templates", name).read_text("utf-8")


@cache
def _script_hash() -> str:
    return base64.b64encode(hashlib.sha256(_asset("page.js").encode()).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("asr.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "p": _p_value,
        "place": _place,
        "p_sentence": lambda value: _p_value(value) if value is None or value < 0.001 else f"= {_p_value(value)}",
        "thousands": lambda value: f"{value:,}",
        "top": _top,
        "width": _width,
    }
    return environment


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def _p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _top(rates: Iterable[Rate]) -> float:
    """The end of a scale on which all of these rates and most of their intervals can be seen.

    A slice of a few words may have an interval that reaches beyond 100 %, and would make all other bars short.
    """
    known: Sequence[Rate] = [rate for rate in rates if rate.value is not None]
    highest = max((rate.value or 0.0 for rate in known), default=0.0)
    reach = max((rate.high or 0.0 for rate in known), default=0.0)
    return max(highest, min(reach, 1.0), 0.01)


def _width(value: float | None, scale: float) -> float:
    """Percent of a bar's length, at most all of it in either direction."""
    return round(100 * max(-1.0, min(1.0, (value or 0.0) / scale)), 2)


def _size(html: str) -> int:
    return len(html.encode("utf-8", "replace"))
