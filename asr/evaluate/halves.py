"""Two halves of a test set: weights are tuned on one and figures are reported on the other.

No speaker is in both, unless a corpus has only one. Each corpus is cut in two nearly equal parts, so that a small one
is not lost to one side by the luck of a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from asr.corpus.manifest import Utterance

Half = Literal["tune", "report"]


def halves(utterances: Sequence[Utterance]) -> list[Half]:
    """The half of each utterance.

    The units of a corpus - its speakers if it has several, and by themselves utterances whose speaker is unknown - go
    one after the other, largest first and equals in the order of a checksum, to the half with fewer utterances so
    far. The order of the manifest plays no part.

    Args:
        utterances: all of one manifest; the halves of a part of it may differ from those of the whole.
    """
    speakers: dict[str, set[str]] = {}
    for utterance in utterances:
        speakers.setdefault(utterance.corpus, set()).add(utterance.speaker)
    units: dict[tuple[str, str], list[int]] = {}
    for index, utterance in enumerate(utterances):
        together = utterance.speaker and len(speakers[utterance.corpus]) > 1
        name = f"speaker {utterance.speaker}" if together else _name(utterance)
        units.setdefault((utterance.corpus, name), []).append(index)
    sizes: dict[str, dict[Half, int]] = {}
    chosen: dict[int, Half] = {}
    for (corpus, _), members in sorted(units.items(), key=lambda unit: (-len(unit[1]), _checksum(*unit[0]))):
        filled = sizes.setdefault(corpus, {"tune": 0, "report": 0})
        half: Half = "tune" if filled["tune"] <= filled["report"] else "report"
        filled[half] += len(members)
        chosen.update(dict.fromkeys(members, half))
    return [chosen[index] for index in range(len(utterances))]


def take_half(utterances: Sequence[Utterance], half: Half | None) -> list[Utterance]:
    """The utterances of one half in their order; all of them for None."""
    if half is None:
        return list(utterances)
    return [utterance for utterance, found in zip(utterances, halves(utterances), strict=True) if found == half]


def _name(utterance: Utterance) -> str:
    return f"item {utterance.id or utterance.shard + ':' + utterance.audio_filepath}"


def _checksum(corpus: str, name: str) -> str:
    return hashlib.sha256(f"{corpus}\n{name}".encode()).hexdigest()
