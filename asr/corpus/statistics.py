"""What a manifest holds, in numbers: how much of what, how long, loud, noisy and fast, and what is odd."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from asr.corpus.manifest import AudioReader, Manifest, Utterance
from asr.corpus.measure import QUANTITIES, Measured, measure
from asr.corpus.oddities import Oddity, find_odd
from asr.errors import AudioError

GROUPS = ("split", "corpus", "gender", "age", "accent", "source")
PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much there is of something. `speakers` counts the known ones."""

    utterances: int
    duration_s: float
    speakers: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Everything that a data report shows, without pictures.

    Attributes:
        groups: per group of `GROUPS`, per value ("unknown" where a row has none).
        words: times each word is spoken, most frequent first.
        measured: the utterances that were decoded; all, or a sample drawn by a hash of their names.
        unreadable: (utterance, error) of those of them that could not be.
        odd: what stands out.
    """

    manifests: tuple[str, ...]
    total: Amount
    groups: dict[str, dict[str, Amount]]
    words: dict[str, int]
    sentences: int
    problems: tuple[str, ...]
    measured: tuple[Measured, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    odd: tuple[Oddity, ...] = field(default=())

    def percentiles(self, quantity: str) -> list[float]:
        """Of one of `QUANTITIES` over what was measured, at `PERCENTILES`; empty where nothing was."""
        values = [item.value(quantity) for item in self.measured]
        return [round(float(value), 3) for value in np.percentile(values, PERCENTILES)] if values else []

    def to_json(self) -> dict[str, object]:
        """Plain values for ``--json``; durations in seconds."""
        return {
            "manifests": list(self.manifests),
            **asdict(self.total),
            "sentences": self.sentences,
            "vocabulary": len(self.words),
            "groups": {
                group: {value: asdict(amount) for value, amount in values.items()}
                for group, values in self.groups.items()
            },
            "words": dict(list(self.words.items())[:100]),
            "measured": len(self.measured),
            "percentiles": {
                "at": list(PERCENTILES),
                **{quantity: self.percentiles(quantity) for quantity in QUANTITIES},
            },
            "unreadable": [{"file": name, "error": error} for name, error in self.unreadable],
            "problems": list(self.problems),
            "odd": [
                {
                    "what": item.what,
                    "count": item.count,
                    "detail": item.detail,
                    "examples": [example.utterance.id or example.utterance.audio_filepath for example in item.examples],
                }
                for item in self.odd
            ],
        }


def describe(
    manifests: Sequence[Manifest], *, sample: int = 0, progress: Callable[[int], None] = lambda _: None
) -> Statistics:
    """Counts all rows, and decodes and measures `sample` of them (0: all).

    Args:
        manifests: read manifests; rows of all are described together.
        sample: how many utterances to decode. The choice depends on their names alone.
        progress: called with the number decoded so far.
    """
    rows = [(manifest.root, utterance) for manifest in manifests for utterance in manifest.utterances]
    chosen = rows
    if 0 < sample < len(rows):
        chosen = [row for _, row in sorted(enumerate(rows), key=lambda pair: _draw(pair[1][1]))[:sample]]
    readers = {root: AudioReader(root) for root, _ in rows}
    measured: list[Measured] = []
    unreadable: list[tuple[str, str]] = []
    for number, (root, utterance) in enumerate(chosen, start=1):
        try:
            measured.append(Measured(root, utterance, measure(readers[root].read(utterance))))
        except AudioError as error:
            unreadable.append((readers[root].name(utterance), str(error)))
        progress(number)
    utterances = [utterance for _, utterance in rows]
    return Statistics(
        manifests=tuple(str(manifest.path) for manifest in manifests),
        total=amount(utterances),
        groups={name: grouped for name in GROUPS if len(grouped := _grouped(utterances, name)) > 0},
        words=dict(Counter(word for row in utterances for word in row.text.split()).most_common()),
        sentences=len({row.text for row in utterances}),
        problems=tuple(f"{problem.where}: {problem.reason}" for manifest in manifests for problem in manifest.problems),
        measured=tuple(measured),
        unreadable=tuple(unreadable),
        odd=tuple(find_odd(utterances, measured, len(unreadable))),
    )


def amount(utterances: Iterable[Utterance]) -> Amount:
    """Counts utterances, their seconds by the manifest, and known speakers (per corpus)."""
    rows = list(utterances)
    speakers = {(row.corpus, row.speaker) for row in rows if row.speaker}
    return Amount(len(rows), round(sum(row.duration for row in rows), 3), len(speakers))


def hours(duration_s: float) -> str:
    """A duration for people: seconds, minutes or hours."""
    if duration_s < 120:
        return f"{duration_s:.1f} s"
    return f"{duration_s / 60:.1f} min" if duration_s < 7200 else f"{duration_s / 3600:.2f} h"


def _grouped(utterances: list[Utterance], name: str) -> dict[str, Amount]:
    """Amounts per value, largest first; nothing where no row has a value."""
    found: defaultdict[str, list[Utterance]] = defaultdict(list)
    for row in utterances:
        found[str(getattr(row, name)) or "unknown"].append(row)
    if set(found) <= {"unknown"}:
        return {}
    amounts = {value: amount(rows) for value, rows in found.items()}
    return dict(sorted(amounts.items(), key=lambda pair: -pair[1].duration_s))


def _draw(utterance: Utterance) -> str:
    name = f"{utterance.corpus}/{utterance.id}/{utterance.shard}/{utterance.audio_filepath}"
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
