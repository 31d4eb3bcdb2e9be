"""The page's list of utterances as compact JSON, which the page's script draws as far as someone scrolls.

A row is ``[name, segments, errors, words, confidence, seconds, snr_db, slices, sound, picture]``. A segment is a
string, words that were heard as spoken, or ``[spoken, heard]``, one error, where "" is nothing. ``slices`` holds one
index per dimension; ``confidence``, ``snr_db``, ``sound`` and ``picture`` are null where there is none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from asr.audio import Samples
from asr.corpus.manifest import Utterance
from asr.evaluate.compare import Flip
from asr.evaluate.findings import ReadUtterance, Step
from asr.evaluate.media import MIN_SIZE, Media, expected_size, media
from asr.evaluate.reading import read_alignment
from asr.evaluate.slices import CLEAN, slices

AudioOf = Callable[[ReadUtterance], Samples | None]

HIDDEN = ("speaker",)
"""Dimensions that would make the page's choice of slices too long; their values can still be searched for."""
_NOISE = re.compile(r"(?P<kind>.+?)(?: (?P<snr_db>[-+\d.e]+) dB)?")


@dataclass(frozen=True, slots=True)
class UtteranceList:
    """The rows of the list, most errors first.

    Attributes:
        read: the utterances, as many as fit.
        slices: the slice of each in every dimension, by index.
        media: sound and picture of each, or None.
        dimensions: (dimension, its slices) in the order of `slices`.
        total: utterances that there are.
    """

    read: tuple[ReadUtterance, ...]
    slices: tuple[tuple[int, ...], ...]
    media: tuple[Media | None, ...]
    dimensions: tuple[tuple[str, tuple[str, ...]], ...]
    total: int

    @property
    def playable(self) -> int:
        """Rows with sound and picture."""
        return sum(made is not None for made in self.media)

    @property
    def wrong(self) -> int:
        """Rows with an error."""
        return sum(row.errors > 0 for row in self.read)

    def rows(self) -> list[list[Any]]:
        """The rows as the script reads them."""
        return [_row(*row) for row in zip(self.read, self.slices, self.media, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """What the page embeds."""
        return {"dimensions": self.dimensions, "rows": self.rows()}


def utterance_list(read: Sequence[ReadUtterance]) -> UtteranceList:
    """The list without media; each utterance gets the slices that the report's table names."""
    ranked = sorted(read, key=lambda row: -row.errors)
    parts = {
        name: members
        for name, members in slices([_utterance(row) for row in ranked]).items()
        if name not in HIDDEN and len(members) > 1
    }
    member_of: list[list[int]] = [[] for _ in ranked]
    for members in parts.values():
        for number, indices in enumerate(members.values()):
            for index in indices:
                member_of[index].append(number)
    return UtteranceList(
        read=tuple(ranked),
        slices=tuple(tuple(numbers) for numbers in member_of),
        media=(None,) * len(ranked),
        dimensions=tuple((name, tuple(members)) for name, members in parts.items()),
        total=len(ranked),
    )


def conditions(read: Iterable[ReadUtterance]) -> list[str]:
    """The conditions in which utterances were heard: as they are first, then by kind from quiet to loud noise."""

    def order(condition: str) -> tuple[bool, str, float]:
        draws = _draws(condition) or {"noise": "", "snr_db": None}
        return condition != CLEAN, draws["noise"], -(draws["snr_db"] or 0.0)

    return sorted({row.condition for row in read}, key=order)


def within(utterances: UtteranceList, budget: int) -> UtteranceList:
    """Leaves out the last rows until the others take at most `budget` bytes in the page."""
    left, kept = budget, 0
    for row in utterances.rows():
        left -= len(embedded(row).encode("utf-8", "replace")) + 1
        if left < 0:
            break
        kept += 1
    return replace(
        utterances,
        read=utterances.read[:kept],
        slices=utterances.slices[:kept],
        media=utterances.media[:kept],
    )


def with_media(utterances: UtteranceList, audio: AudioOf, budget: int) -> UtteranceList:
    """Adds sound and picture to the rows with most errors, as far as `budget` bytes reach.

    A recording too long for what is left is passed over in favour of shorter ones.
    """
    found = list(utterances.media)
    longest_s = math.inf
    for index, row in enumerate(utterances.read):
        if not row.errors or budget < MIN_SIZE:
            break
        if row.duration_s > longest_s or expected_size(row.duration_s) > budget or (samples := audio(row)) is None:
            continue
        made = media(samples)
        if made.size <= budget:
            budget -= made.size
            found[index] = made
        else:  # encoding costs time: nothing nearly as long is tried again
            longest_s = 0.8 * row.duration_s
    return replace(utterances, media=tuple(found))


def flip_rows(flips: Iterable[Flip]) -> list[list[Any]]:
    """Rows ``[name, kind, errors_a, errors_b, segments_a, segments_b]`` of utterances that two models hear apart."""
    return [
        [
            flip.item,
            flip.kind,
            flip.errors_a,
            flip.errors_b,
            segments(read_alignment(flip.reference, flip.hypothesis_a)),
            segments(read_alignment(flip.reference, flip.hypothesis_b)),
        ]
        for flip in flips
    ]


def segments(steps: Iterable[Step]) -> list[str | tuple[str, str]]:
    """Joins neighbouring words that were heard as spoken; every error stays a pair."""
    found: list[str | tuple[str, str]] = []
    for step in steps:
        last = found[-1] if found else None
        if step.kind != "hit":
            found.append((step.reference, step.hypothesis))
        elif isinstance(last, str):
            found[-1] = f"{last} {step.reference}"
        else:
            found.append(step.reference)
    return found


def embedded(value: Any) -> Markup:
    """JSON for a ``<script type="application/json">``: no text in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _row(row: ReadUtterance, numbers: tuple[int, ...], made: Media | None) -> list[Any]:
    noise = _draws(row.condition)
    return [
        f"{row.key}, speaker {row.speaker}" if row.speaker else row.key,
        segments(row.steps),
        row.errors,
        row.words,
        round(row.confidence, 3) if math.isfinite(row.confidence) else None,
        round(row.duration_s, 2),
        noise.get("snr_db") if noise else None,
        numbers,
        made.sound if made else None,
        made.picture if made else None,
    ]


def _utterance(row: ReadUtterance) -> Utterance:
    return Utterance(
        row.key,
        row.duration_s,
        "",
        speaker=row.speaker,
        gender=row.gender,
        age=row.age,
        accent=row.accent,
        corpus=row.corpus,
        augmentation=_draws(row.condition),
    )


def _draws(condition: str) -> dict[str, Any] | None:
    """Reads back what `asr.evaluate.slices.NoiseCondition` prints."""
    match = None if condition == CLEAN else _NOISE.fullmatch(condition)
    if match is None:
        return None
    return {"noise": match["kind"], "snr_db": None if match["snr_db"] is None else float(match["snr_db"])}
