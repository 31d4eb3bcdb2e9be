"""Several runs of one model read as one: a test in quiet and the same in noise, or one corpus after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asr.corpus.manifest import Problem
from asr.errors import InputError
from asr.evaluate.results import Results, ScoredUtterance


def pool(runs: Sequence[Results]) -> tuple[Results, tuple[int, ...]]:
    """Puts runs together; an item that an earlier run has under the same key is left out and named.

    Args:
        runs: of one bundle.

    Returns:
        All items, with the settings of the first run and every run's own under "runs"; and for each item the index of
        its run.

    Raises:
        InputError: the runs come from different bundles.
    """
    if len(runs) == 1:
        return runs[0], (0,) * len(runs[0].items)
    hashes = sorted({str(run.settings.get("bundle_hash", "")) for run in runs})
    if len(hashes) > 1:
        short = ", ".join(found[:12] or "unknown" for found in hashes)
        raise InputError(
            f"the results come from different bundles ({short}): report on one of them and compare it with --against"
        )
    items: list[ScoredUtterance] = []
    sources: list[int] = []
    problems: list[Problem] = []
    earlier: set[str] = set()
    for number, run in enumerate(runs):
        problems += run.left_out
        keys = {item.key for item in run.items}  # the same name twice within one run stays, as it does by itself
        for item in run.items:
            if item.key in earlier:
                problems.append(Problem(item.key, "an earlier results folder has it already"))
            else:
                items.append(item)
                sources.append(number)
        earlier |= keys
    settings: dict[str, Any] = {**runs[0].settings, "runs": [run.settings for run in runs]}
    manifests = [str(path) for run in runs for path in run.settings.get("manifests", ())]
    if manifests:
        settings["manifests"] = list(dict.fromkeys(manifests))
    return Results(tuple(items), tuple(problems), settings), tuple(sources)
