"""Evaluations and comparisons as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from rich import box
from rich.markup import escape
from rich.table import Table

from asr.corpus.manifest import Problem
from asr.evaluate import Comparison, Evaluation, SliceResult
from asr.evaluate.compare import SliceComparison
from asr.evaluate.evaluation import Rate
from asr.evaluate.statistics import MIN_UNITS
from services.cli import output

SPEAKERS_SHOWN = 5
FLIPS_SHOWN = 10
WORDS_SHOWN = 10
WORD_WIDTH = 24
SIGNIFICANT = 0.05

Part = TypeVar("Part", SliceResult, SliceComparison)


def show_evaluation(evaluation: Evaluation) -> None:
    """Prints rates, slices, the most frequent confusions and what was left out."""
    whole = evaluation.overall
    table = table_of("slice", "WER %", "interval", "CER %", "SER %", "utterances", "share %")
    _slice_row(table, "all", whole)
    for dimension, parts in _by_dimension(evaluation.slices).items():
        _heading(table, dimension)
        for part in parts:
            _slice_row(table, f"  {part.value}", part)
    output.console.print(table)
    rtf = "unknown" if evaluation.rtf is None else f"{evaluation.rtf:.3f}"
    output.console.print(
        f"{whole.substitutions} substituted, {whole.deletions} dropped, {whole.insertions} made up; "
        f"{evaluation.audio_s / 60:.1f} minutes of audio, {rtf} processor seconds per second; "
        f"intervals over {whole.unit}s",
        highlight=False,
    )
    if evaluation.unknown_words:
        unknown = evaluation.unknown_words
        output.console.print(
            f"unknown words: {unknown.missed} of {unknown.count} missed ({percent(unknown.rate.value)} %)",
            highlight=False,
        )
    if evaluation.confusions:
        pairs = [
            f"{_short(c.reference)} → {_short(c.hypothesis)} ({c.count})" for c in evaluation.confusions[:WORDS_SHOWN]
        ]
        output.console.print(f"most confused: {escape(', '.join(pairs))}", highlight=False)
    show_problems("failed", evaluation.failed)
    show_problems("left out", evaluation.left_out)


def show_comparison(comparison: Comparison, a: str, b: str) -> None:
    """Prints the difference overall, per slice and per word, and the utterances that changed most."""
    output.console.print(f"A: {escape(a)}\nB: {escape(b)}", highlight=False, soft_wrap=True)
    table = table_of("slice", "A %", "B %", "B - A", "interval", "p", "fixed", "broken")
    whole = comparison.overall
    _comparison_row(table, "all", whole, whole.test.p_value)
    for dimension, parts in _by_dimension(comparison.slices).items():
        _heading(table, dimension)
        for part in parts:
            _comparison_row(table, f"  {part.value}", part, part.p_holm)
    output.console.print(table)
    mapsswe = "undefined" if whole.test.p_mapsswe is None else f"{whole.test.p_mapsswe:.2g}"
    output.console.print(
        f"p of slices after Holm; all: MAPSSWE p = {mapsswe}, McNemar p = {whole.test.p_mcnemar:.2g}; "
        f"intervals over {whole.test.unit}s",
        highlight=False,
    )
    words = table_of("word", "spoken", "missed by A", "missed by B", "p")
    for word in comparison.words[:WORDS_SHOWN]:
        words.add_row(escape(word.word), str(word.count), str(word.missed_a), str(word.missed_b), _p_value(word.p_holm))
    output.console.print(words)
    for flip in comparison.flips[:FLIPS_SHOWN]:
        output.console.print(f"{flip.kind}: {escape(flip.item)}", highlight=False)
        for name, text in (("  ", flip.reference), ("A ", flip.hypothesis_a), ("B ", flip.hypothesis_b)):
            output.console.print(f"  {name}{escape(text)}", highlight=False)
    if len(comparison.flips) > FLIPS_SHOWN:
        output.console.print(
            f"{len(comparison.flips)} utterances changed; see them all with --json or -o report.html", highlight=False
        )
    show_problems("left out", comparison.left_out)


def _by_dimension(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """Slices by dimension, without dimensions that do not divide the test; of many speakers only the worst."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.dimension, []).append(part)
    if len(found.get("speaker", ())) > 2 * SPEAKERS_SHOWN:
        found["speaker"] = sorted(found["speaker"], key=_badness, reverse=True)[:SPEAKERS_SHOWN]
    return {dimension: members for dimension, members in found.items() if len(members) > 1}


def _badness(part: SliceResult | SliceComparison) -> float:
    return (part.wer.value or 0.0) if isinstance(part, SliceResult) else part.test.difference


def table_of(first: str, *others: str) -> Table:
    """An empty table: names to the left, numbers to the right."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    return table


def _heading(table: Table, text: str) -> None:
    table.add_section()
    table.add_row(f"[bold]{text}[/bold]")


def _slice_row(table: Table, name: str, part: SliceResult) -> None:
    table.add_row(
        escape(name),
        percent(part.wer.value),
        interval(part.wer),
        percent(part.cer.value),
        percent(part.ser.value),
        str(part.utterances),
        percent(part.error_share),
        style="dim" if part.units < MIN_UNITS else None,
    )


def _comparison_row(table: Table, name: str, part: SliceComparison, p_value: float | None) -> None:
    test = part.test
    colour = ""
    if p_value is not None and p_value < SIGNIFICANT:
        colour = "green" if test.difference < 0 else "red"
    table.add_row(
        escape(name),
        percent(part.wer_a),
        percent(part.wer_b),
        f"{100 * test.difference:+.1f}",
        "-" if test.low is None or test.high is None else f"{100 * test.low:+.1f} {100 * test.high:+.1f}",
        _p_value(p_value),
        str(part.fixed),
        str(part.broken),
        style=colour or None,
    )


def show_problems(kind: str, problems: Sequence[Problem]) -> None:
    """Warns of what is in no rate."""
    if problems:
        output.warn(f"{len(problems)} {kind}, in no rate; the first: {problems[0].where}: {problems[0].reason}")


def _short(word: str) -> str:
    return word if len(word) <= WORD_WIDTH else word[: WORD_WIDTH - 1] + "…"


def percent(value: float | None) -> str:
    """A fraction in percent."""
    return "-" if value is None else f"{100 * value:.1f}"


def interval(rate: Rate) -> str:
    """A rate's interval in percent."""
    return "-" if rate.low is None else f"{percent(rate.low)} {percent(rate.high)}"


def _p_value(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
