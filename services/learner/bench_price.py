"""What learning names costs general speech: against no replay and no gate, and over many rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.bundle import load_bundle
from asr.corpus.manifest import Manifest
from asr.evaluate import Resampling, compare
from asr.learn import LearnConfig, NewName, learn
from asr.learn.probe import Recall, hear_probe, probe_lines, recall, speak_probe
from asr.recognize import Recognizer
from services.learner.gating import GatingConfig, hear_general

ALONE = ("replay.share=0", "tune.teacher_weight=0", "tune.steps=40")
"""Settings of the baseline: fine-tuned on the names alone, nothing against forgetting."""

Tell = Callable[[str], None]


def changes(before: Path, after: Path, gate: GatingConfig, work: Path) -> list[dict[str, Any]]:
    """Word error rates on every set of general speech, before and after, with the interval of the change."""
    found = []
    for pair in hear_general(before, after, gate, work):
        overall = compare(pair.before, pair.after, resampling=Resampling()).overall
        test = overall.test
        row = {"set": pair.name, "words": overall.words, "wer_before": overall.wer_a, "wer_after": overall.wer_b}
        found.append({**row, "change": test.difference, "low": test.low, "high": test.high, "p": test.p_value})
    return found


@dataclass(frozen=True, slots=True)
class Round:
    """One of several rounds, each from the bundle of the one before.

    Attributes:
        names: learned in it.
        bundle: hash that it made.
        recall: of all names so far, in quiet.
        lost: names of earlier rounds that were recognised at least once right after their round, and now never.
        drift: change of the word error rate on each set of general speech since before the first round.
    """

    names: tuple[str, ...]
    bundle: str
    recall: float
    by_name: dict[str, tuple[int, int]]
    lost: tuple[str, ...]
    drift: list[dict[str, Any]]


def run_rounds(
    base: Path,
    names: Sequence[Sequence[str]],
    config: LearnConfig,
    gate: GatingConfig,
    folder: Path,
    *,
    seed: int = 0,
    jobs: int = 2,
    tell: Tell = lambda _: None,
) -> list[Round]:
    """Learns names in rounds, one after another, and tests all of them and general speech after each.

    Args:
        base: the bundle before the first round.
        names: of each round.
        config: of learning.
        gate: the sets of general speech.
        folder: of this run; goes on where it stood.
        seed: of the test's voices and sentences.
        jobs: processes that speak.
        tell: told what is going on.
    """
    served, found, known = base, list[Round](), dict[str, tuple[int, int]]()
    for number, new in enumerate(names, start=1):
        tell(f"round {number} of {len(names)}: {', '.join(new)}")
        work = folder / f"round-{number}"
        served = learn(served, [NewName(name) for name in new], config, work, folder / "bundles").bundle
        heard = hear_names(served, [name for each in names[:number] for name in each], folder / "probe", seed, jobs)
        lost = tuple(name for name, (right, _) in known.items() if right and not heard.by_name[name][0])
        known |= {name: heard.by_name[name] for name in new}
        drift = changes(base, served, gate, folder / "gate")
        found.append(Round(tuple(new), load_bundle(served).hash, heard.share, dict(heard.by_name), lost, drift))
        worst = 100 * max((row["change"] for row in drift), default=0.0)
        tell(f"    {heard.share:.1%} of all utterances right, {len(lost)} names lost, drift {worst:+.2f} points")
    return found


def hear_names(bundle: Path, names: Sequence[str], folder: Path, seed: int, jobs: int) -> Recall:
    """Recall of names in quiet, by voices that learning never uses, without phrases."""
    lines = probe_lines(names, kokoro=3, flite=1, seed=seed)
    manifest: Manifest = speak_probe(lines, folder, jobs)
    return recall([line.name for line in lines], hear_probe(Recognizer.open(bundle), lines, manifest))
