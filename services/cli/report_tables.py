"""A report's findings in the terminal: worst slices, kinds of words and of speech, fairness, the ladder, advice."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from asr.evaluate.findings import Findings, GroupRate, Rung
from services.cli import output
from services.cli.evaluate_tables import (
    WORDS_SHOWN,
    interval,
    percent,
    show_problems,
    table_of,
)

SLICES_SHOWN = 8
PAIRS_SHOWN = 3
NAME_WIDTH = 26


def show_findings(findings: Findings) -> None:
    """Prints the summary; the page and the JSON have everything."""
    evaluation = findings.evaluation
    whole = evaluation.overall
    output.console.print(
        f"WER {percent(whole.wer.value)} % ({interval(whole.wer)}) over {whole.utterances} utterances, "
        f"{whole.words} words; intervals over {whole.unit}s",
        highlight=False,
    )
    _slices(findings)
    _breakdowns(findings)
    _words(findings)
    _fairness(findings)
    _ladder(findings)
    output.console.print("\n[bold]Advice[/bold]" if findings.advice else "\nno rule has advice")
    for number, advice in enumerate(findings.advice, start=1):
        gain = "" if advice.gain is None else f" [dim](at most {percent(advice.gain)} points)[/dim]"
        output.console.print(f"{number}. {escape(advice.text)}{gain}", highlight=False)
    show_problems("failed", evaluation.failed)
    show_problems("left out", evaluation.left_out)


def _slices(findings: Findings) -> None:
    table = table_of("worst slices", "WER %", "interval", "rest %", "share %", "if fixed %", "utterances")
    shown = [part for part in findings.slices if part.enough and part.result.dimension != "speaker"]
    for part in shown[:SLICES_SHOWN]:
        result = part.result
        table.add_row(
            escape(f"{result.dimension}: {result.value}"),
            percent(result.wer.value),
            interval(result.wer),
            percent(part.rest_wer),
            percent(result.error_share),
            percent(part.wer_if_fixed),
            str(result.utterances),
        )
    if shown:
        output.console.print(table)


def _breakdowns(findings: Findings) -> None:
    table = table_of("kind of words or speech", "error %", "interval", "words")
    for breakdown in findings.breakdowns:
        if len(breakdown.groups) > 1:
            table.add_section()
            errors = "words missed" if breakdown.measure == "missed" else "word errors"
            table.add_row(f"[bold]{breakdown.title}[/bold] [dim]({errors})[/dim]")
            for group in breakdown.groups:
                _group(table, group)
    output.console.print(table)


def _group(table: Table, group: GroupRate) -> None:
    table.add_row(f"  {escape(group.group)}", percent(group.rate.value), interval(group.rate), str(group.words))


def _words(findings: Findings) -> None:
    pairs = [f"{c.reference} → {c.hypothesis} ({c.count} of {c.spoken})" for c in findings.confusions[:WORDS_SHOWN]]
    missed = [f"{w.word} ({w.errors} of {w.count})" for w in findings.missed[:WORDS_SHOWN]]
    made_up = [f"{w.word} ({w.errors})" for w in findings.inserted[:WORDS_SHOWN]]
    for name, entries in (("most confused", pairs), ("most missed", missed), ("most made up", made_up)):
        if entries:
            output.console.print(escape(f"{name}: {', '.join(entries)}"), highlight=False)
    calibration = findings.calibration
    if calibration.words:
        output.console.print(
            f"confidence: {percent(calibration.confidence)} % claimed, {percent(calibration.accuracy)} % right; "
            f"expected calibration error {percent(calibration.ece.value)} % ({interval(calibration.ece)})",
            highlight=False,
        )


def _fairness(findings: Findings) -> None:
    fairness = findings.fairness
    if not fairness.groups:
        return
    output.console.print("\n[bold]Fairness[/bold] [dim](within each corpus)[/dim]")
    for found in [d for d in fairness.differences if d.verdict == "different"][:PAIRS_SHOWN]:
        points = f"{100 * (found.difference.value or 0.0):+.1f} points"
        pair = f"{found.dimension} {found.worse} {points} against {found.better} ({interval(found.difference)})"
        output.console.print(escape(f"{found.corpus}: {pair}, p = {found.p_holm:.3g} after Holm"), highlight=False)
    counts = {
        verdict: sum(found.verdict == verdict for found in fairness.differences)
        for verdict in ("alike", "too little data")
    }
    small = sum(not group.enough for group in fairness.groups)
    output.console.print(
        f"{'' if fairness.largest else 'no significant difference; '}{counts['alike']} pairs alike, "
        f"{counts['too little data']} pairs and {small} groups with too little data to tell",
        highlight=False,
    )
    alone = ", ".join(f"{group.dimension} {group.group} in {group.corpus}" for group in fairness.alone)
    if alone:
        output.console.print(escape(f"not to be told from their corpus: {alone}"), highlight=False)


def _ladder(findings: Findings) -> None:
    table = table_of("ladder", "WER %", "interval", "gap", "what it is")
    table.columns[0].max_width = NAME_WIDTH  # a long reference leaves the figures their room
    gaps = {gap.upper: (index, gap) for index, gap in enumerate(findings.ladder.gaps)}
    for rung in findings.ladder.rungs:
        index, gap = gaps.get(rung.name, (None, None))
        largest = gap is not None and index == findings.ladder.largest
        table.add_row(
            escape(rung.name),
            "missing" if rung.wer is None else percent(rung.wer.value),
            "" if rung.wer is None else interval(rung.wer),
            "" if gap is None else f"{100 * (gap.difference.value or 0.0):+.1f}",
            "" if gap is None else " or ".join(gap.causes) + (", the largest" if largest else ""),
            style=_style(rung, largest=largest),
        )
        for part in gap.corpora if gap and gap.difference.value else ():
            step = f"{100 * (part.difference.value or 0.0):+.1f}"
            name = escape(f"  {part.corpus or '(no name)'}")
            table.add_row(name, percent(part.upper.value), interval(part.upper), step, "", style="dim")
    output.console.print(table)
    weighed = [
        f"{' or '.join(gap.causes)} {100 * gap.as_they_stand:+.1f}"
        for gap in findings.ladder.gaps
        if gap.as_they_stand is not None
    ]
    if weighed:
        output.console.print(f"with corpora weighed alike; as they stand: {', '.join(weighed)}", highlight=False)


def _style(rung: Rung, *, largest: bool) -> str | None:
    return "dim" if rung.wer is None else "bold" if largest else None
