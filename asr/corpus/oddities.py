"""What stands out in a corpus: recordings far from the others, labels that disagree, groups that weigh too much."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from asr.corpus.manifest import Utterance
from asr.corpus.measure import Measured

_EXAMPLES = 3
_CLIPPED = 0.0005
_NOISY_DB = 15.0
_BELOW_MEDIAN_DB = 15.0
_FAST, _SLOW = 25.0, 3.0
_DURATION_OFF_S, _DURATION_OFF = 0.1, 0.02
_RARE_UTTERANCES = 3
_DOMINANT = 0.2
_UNEVEN = 3.0
_SAME_GENDER = {"m": "m", "male": "m", "f": "f", "female": "f"}


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something to look at.

    Attributes:
        what: one phrase.
        count: of utterances, speakers or labels.
        detail: what was found, and against what.
        examples: some of the utterances, where it is about utterances.
    """

    what: str
    count: int
    detail: str
    examples: tuple[Measured, ...] = ()


def find_odd(utterances: Sequence[Utterance], measured: Sequence[Measured], unreadable: int) -> Iterator[Oddity]:
    """Yields what stands out, the recordings first, then the labels and the balance."""
    if unreadable:
        yield Oddity("audio that cannot be read", unreadable, "listed above, or in the report's JSON as 'unreadable'")
    yield from _recordings(measured)
    yield from _splits(utterances)
    yield from _speakers(utterances)
    yield from _labels(utterances)


def _recordings(measured: Sequence[Measured]) -> Iterator[Oddity]:
    if not measured:
        return
    median_db = float(np.median([item.measures.level_db for item in measured]))
    tests: list[tuple[str, str, Callable[[Measured], float]]] = [  # positive: odd, the larger the odder
        ("clipped", f"more than {_CLIPPED:.2%} of the samples at full scale", lambda x: x.measures.clipped - _CLIPPED),
        (
            "very quiet",
            f"more than {_BELOW_MEDIAN_DB:g} dB below the median of {median_db:.0f} dB",
            lambda x: median_db - _BELOW_MEDIAN_DB - x.measures.level_db,
        ),
        ("noisy", f"SNR estimate below {_NOISY_DB:g} dB", lambda x: _NOISY_DB - x.measures.snr_db),
        ("spoken very fast", f"more than {_FAST:g} characters a second", lambda x: x.value("rate") - _FAST),
        ("spoken very slowly", f"fewer than {_SLOW:g} characters a second", lambda x: _SLOW - x.value("rate")),
        (
            "length unlike the manifest's",
            f"off by more than {_DURATION_OFF_S:g} s and {_DURATION_OFF:.0%}",
            lambda x: (
                abs(x.measures.duration_s - x.utterance.duration)
                - max(_DURATION_OFF_S, _DURATION_OFF * x.measures.duration_s)
            ),
        ),
    ]
    for what, detail, excess in tests:
        found = sorted(((excess(item), index) for index, item in enumerate(measured)), reverse=True)
        odd = [measured[index] for value, index in found if value > 0]
        if odd:
            share = f"; {len(odd) / len(measured):.1%} of the {len(measured)} measured"
            yield Oddity(what, len(odd), detail + share, tuple(odd[:_EXAMPLES]))


def _splits(utterances: Sequence[Utterance]) -> Iterator[Oddity]:
    sentences: defaultdict[str, set[str]] = defaultdict(set)
    speakers: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in utterances:
        sentences[row.split or "no split"].add(row.text)
        if row.speaker:
            speakers[row.split or "no split"].add((row.corpus, row.speaker))
    for one, other in combinations(sorted(sentences), 2):
        shared = sorted(sentences[one] & sentences[other])
        if shared:
            yield Oddity(f"sentences both in {one} and in {other}", len(shared), "; ".join(shared[:3]))
        voices = sorted(speakers[one] & speakers[other])
        if voices:
            names = ", ".join(speaker for _, speaker in voices[:5])
            yield Oddity(f"speakers both in {one} and in {other}", len(voices), names)
    said = Counter((row.corpus, row.text) for row in utterances)
    (_, text), times = said.most_common(1)[0]
    if times > 1 and len(said) > 50 and times > 0.02 * len(utterances):
        yield Oddity("a sentence said again and again", times, f"{text!r}")


def _speakers(utterances: Sequence[Utterance]) -> Iterator[Oddity]:
    per_speaker: defaultdict[tuple[str, str], float] = defaultdict(float)
    rows: Counter[tuple[str, str]] = Counter()
    for row in utterances:
        per_speaker[row.corpus, row.speaker] += row.duration
        rows[row.corpus, row.speaker] += 1
    known = {key: seconds for key, seconds in per_speaker.items() if key[1]}
    unknown = len(utterances) - sum(rows[key] for key in known)
    if unknown:
        yield Oddity("utterances without a speaker", unknown, "they may stand in two splits unseen")
    rare = [key for key in known if rows[key] < _RARE_UTTERANCES]
    if rare:
        yield Oddity(
            "rare speakers", len(rare), f"fewer than {_RARE_UTTERANCES} utterances each, of {len(known)} speakers"
        )
    total_s = sum(known.values())
    large = sorted((seconds, name) for (_, name), seconds in known.items() if seconds > _DOMINANT * total_s)
    if large and len(known) > 1 / _DOMINANT:
        seconds, name = large[-1]
        yield Oddity(
            "speakers that dominate", len(large), f"{name} alone speaks {seconds / total_s:.0%} of the known time"
        )


def _labels(utterances: Sequence[Utterance]) -> Iterator[Oddity]:
    labels = Counter(row.gender for row in utterances if row.gender)
    same = [sorted(name for name in labels if _SAME_GENDER.get(name.lower()) == value) for value in ("f", "m")]
    spelled = [names for names in same if len(names) > 1]
    if spelled:
        yield Oddity("genders spelled in several ways", len(spelled), "; ".join(" = ".join(names) for names in spelled))
    seconds: dict[str, float] = defaultdict(float)
    for row in utterances:
        if row.gender.lower() in _SAME_GENDER:
            seconds[_SAME_GENDER[row.gender.lower()]] += row.duration
    if len(seconds) == 2 and max(seconds.values()) > _UNEVEN * min(seconds.values()):
        more, less = sorted(seconds, key=lambda name: -seconds[name])
        yield Oddity("genders out of balance", 1, f"{seconds[more] / seconds[less]:.1f} times as much {more} as {less}")
    for name in ("gender", "accent"):
        missing = sum(not getattr(row, name) for row in utterances)
        if 0 < missing < len(utterances):
            yield Oddity(f"utterances without {name}", missing, f"{missing / len(utterances):.0%} of all")
