"""The table of a set of experiments, as JSON and as Markdown, failures included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from asr.evaluate.statistics import Resampling, intervals
from asr.tune.run import Row


def to_json(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """Figures of every trial; differences are to the first trial that has figures, on the same utterances.

    Differences of WER and of loss per token come with 95 % percentile bootstrap intervals over utterances
    (Bisani & Ney 2004). They hold for these utterances and this seed: another seed moves the figures too.
    """
    first = next((row for row in rows if row.result is not None), None)
    return {
        "name": name,
        "compared_with": first.name if first else None,
        "trials": [_row(row, first if row is not first else None) for row in rows],
    }


def to_markdown(table: dict[str, Any]) -> str:
    """The table for people: error rates in percent, differences with their intervals."""
    sets = next((list(row["sets"]) for row in table["trials"] if "sets" in row), [])
    header = ["trial", "changes", "steps", "audio h", "CPU min", "dev loss"]
    for name in sets:
        header += [f"{name}: loss", "WER %", f"WER against {table['compared_with']}", "CER %"]
    lines = [f"# {table['name']}", "", _line(header), _line(["---"] * len(header))]
    failures = []
    for row in table["trials"]:
        changes = ", ".join(f"`{key}={_short(value)}`" for key, value in row["set"].items()) or "-"
        if "failure" in row:
            failures.append(f"- {row['name']}: {row['failure']}")
            lines.append(_line([row["name"], changes, "failed", *[""] * (len(header) - 3)]))
            continue
        cells = [row["name"], changes, str(row["steps"]), f"{row['audio_h']:.2f}", f"{row['cpu_minutes']:.1f}"]
        cells.append(f"{row['dev']['loss']:.3f}")
        for name in sets:
            figures = row["sets"][name]
            cells += [
                f"{figures['loss']:.3f}",
                f"{figures['wer']:.1%}"[:-1],
                _difference(figures),
                f"{figures['cer']:.1%}"[:-1],
            ]
        lines.append(_line(cells))
    if failures:
        lines += ["", "Failed:", "", *failures]
    return "\n".join(lines) + "\n"


def _row(row: Row, first: Row | None) -> dict[str, Any]:
    head = {"name": row.name, "set": row.set}
    if row.result is None:
        return {**head, "failure": row.failure}
    sets = {}
    for name, figures in row.result["sets"].items():
        sets[name] = {key: value for key, value in figures.items() if key != "utterances"}
        if first is not None and first.result is not None:
            sets[name] |= _compare(first.result["sets"][name]["utterances"], figures["utterances"])
    return {**head, **{key: value for key, value in row.result.items() if key != "sets"}, "sets": sets}


def _compare(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> dict[str, Any]:
    """B minus A over the utterances that both could use."""
    errors_a = {one["name"]: one for one in a}
    pairs = [(errors_a[one["name"]], one) for one in b if one["name"] in errors_a]
    if len(pairs) < 2:
        return {}
    words = np.array([[pair[0]["words"], 1.0] for pair in pairs], dtype=np.float64)
    difference = np.array(
        [[y["word_errors"] - x["word_errors"], y["loss"] - x["loss"]] for x, y in pairs], dtype=np.float64
    )
    ends = intervals(difference, words, np.arange(len(pairs)), Resampling(seed=0))
    middle = difference.sum(0) / words.sum(0)
    return {
        f"{kind}_difference": [float(middle[i]), float(ends[i, 0]), float(ends[i, 1])]
        for i, kind in enumerate(("wer", "loss"))
    }


def _difference(figures: dict[str, Any]) -> str:
    if "wer_difference" not in figures:
        return "-"
    middle, low, high = (100 * value for value in figures["wer_difference"])
    return f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
