"""How often the right name is among the proposals for a span of unknown words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize

from asr.decode import Decoder, Word
from asr.evaluate.unknown import Sample, Source
from asr.unknown import Catalogue, CatalogueConfig, RescoreConfig, UnknownConfig, UnknownSpan
from asr.unknown.find import mark
from asr.unknown.rescore import ratio
from asr.unknown.types import Proposal, Spelling

PRESELECTED = 50
"""Names that the catalogue proposes before the acoustics put them in order."""
RANKS = (1, 3, 10)


@dataclass(frozen=True, slots=True)
class Listed:
    """A span with the names proposed for it.

    Attributes:
        sample: index of the utterance.
        score: of the span.
        name: the name whose words the span finds; "" if it finds none.
        proposals: by sound, best first.
        ratios: of each, by the acoustics (see `asr.unknown.rescore.ratio`).
    """

    sample: int
    score: float
    name: str
    proposals: tuple[Proposal, ...]
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class NamesFound:
    """Of the spoken names of which the lexicon lacks the surname.

    Attributes:
        spoken: how many there are.
        spotted: of them, with a span on them.
        among: of them, with the right name among the first 1, 3 and 10 proposals of such a span.
    """

    spoken: int
    spotted: int
    among: tuple[int, ...]


def spoken_name(text: str, names: Collection[str]) -> str:
    """The longest name that a text mentions, word for word, its possessive included; "" if none."""
    words = text.replace("'s ", " ").removesuffix("'s").split()
    for length in range(min(7, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            if (name := " ".join(words[start : start + length])) in names:
                return name
    return ""


def list_names(
    samples: Sequence[Sample],
    decoder: Decoder,
    config: UnknownConfig,
    catalogue: Catalogue,
    source: Source,
    rescoring: RescoreConfig,
    report: Callable[[], None] = lambda: None,
) -> list[Listed]:
    """The spans of some utterances with proposals; `source` "best" looks up the words of the best hypothesis."""
    names = {entity.name for entity in catalogue.entities}
    found: list[Listed] = []
    for number, sample in enumerate(samples):
        name = spoken_name(sample.text, names)
        for span in mark(sample.log_probs, sample.units, sample.features, decoder, config):
            asked = span if source == "emissions" else _as_heard(span)
            proposals = catalogue.propose(asked, PRESELECTED)
            listed = [proposal.name for proposal in proposals]
            ratios = ratio(sample.log_probs, span, listed, decoder.tokens, rescoring)
            right = name if name and _finds(span, sample, name) else ""
            found.append(Listed(number, span.score, right, tuple(proposals), tuple(ratios.tolist())))
        report()
    return found


def names_found(
    samples: Sequence[Sample],
    listed: Sequence[Listed],
    catalogue: Catalogue,
    config: RescoreConfig | None,
    threshold: float = 0.0,
) -> NamesFound:
    """Counts, with proposals in the order of `config`, or by sound alone without one.

    Args:
        samples: utterances.
        listed: their spans.
        catalogue: all names.
        config: of the acoustics.
        threshold: spans with a lower score are left out.
    """
    names = {entity.name for entity in catalogue.entities}
    spoken: dict[int, str] = {}
    for number, sample in enumerate(samples):
        if (name := spoken_name(sample.text, names)) and _is_new(sample, name):
            spoken[number] = name
    best: dict[int, int] = {}
    for one in listed:
        if one.sample in spoken and one.name and one.score >= threshold:
            order = [proposal.name for proposal in one.proposals]
            if config:
                order = [order[place] for place in np.argsort(-_logs(one, config), kind="stable")]
            rank = order.index(one.name) + 1 if one.name in order else PRESELECTED + 1
            best[one.sample] = min(best.get(one.sample, rank), rank)
    among = tuple(sum(rank <= most for rank in best.values()) for most in RANKS)
    return NamesFound(len(spoken), len(best), among)


def fit_rescoring(listed: Sequence[Listed], start: RescoreConfig) -> tuple[RescoreConfig, float]:
    """The weights of acoustics, sound and none that make the right names likeliest, and the mean log-probability so."""

    def loss(values: np.ndarray) -> float:
        config = replace(start, acoustic=abs(values[0]), sound=abs(values[1]), none=values[2])
        return -_mean_log([_logs(one, config) for one in listed], listed, config.none)

    found = scipy.optimize.minimize(loss, [start.acoustic, start.sound, start.none], method="Nelder-Mead")
    acoustic, sound, none = (round(float(value), 3) for value in found.x)
    return replace(start, acoustic=abs(acoustic), sound=abs(sound), none=none), -float(found.fun)


def fit_catalogue(listed: Sequence[Listed], start: CatalogueConfig) -> CatalogueConfig:
    """The same for the catalogue's own probabilities, by sound alone."""

    def loss(values: np.ndarray) -> float:
        logs = [-abs(values[0]) * np.array([p.distance for p in one.proposals]) for one in listed]
        return -_mean_log(logs, listed, -abs(values[0]) * values[1])

    found = scipy.optimize.minimize(loss, [start.sharpness, start.none], method="Nelder-Mead")
    sharpness, none = (round(float(value), 3) for value in found.x)
    return replace(start, sharpness=max(0.001, abs(sharpness)), none=min(1.0, max(0.0, none)))


def _mean_log(logs: Sequence[np.ndarray], listed: Sequence[Listed], none: float) -> float:
    """The mean natural-log probability of the right name, or of none where it is not listed."""
    total = 0.0
    for values, one in zip(logs, listed, strict=True):
        order = [proposal.name for proposal in one.proposals]
        right = values[order.index(one.name)] if one.name in order else none
        total += right - float(np.logaddexp.reduce([*values, none]))
    return total / max(1, len(listed))


def _logs(one: Listed, config: RescoreConfig) -> np.ndarray:
    distances = np.array([proposal.distance for proposal in one.proposals])
    return config.acoustic * np.array(one.ratios) - config.sound * distances


def _as_heard(span: UnknownSpan) -> UnknownSpan:
    """The span as the best hypothesis alone would spell it."""
    return replace(span, spellings=(Spelling(" ".join(span.heard), 0.0),))


def _words(sample: Sample, name: str) -> list[Word]:
    """The words of a reference in which it says the name; empty if it does not."""
    words = name.split()
    said = [word.word.removesuffix("'s") for word in sample.words]
    for start in range(len(said) - len(words) + 1):
        if said[start : start + len(words)] == words:
            return list(sample.words[start : start + len(words)])
    return []


def _is_new(sample: Sample, name: str) -> bool:
    """Whether the lexicon lacks the surname."""
    words = _words(sample, name)
    return bool(words) and words[-1] in sample.unknown


def _finds(span: UnknownSpan, sample: Sample, name: str) -> bool:
    """Whether a span lies on a word of the name."""
    words = _words(sample, name)
    shared = [min(span.end_s, word.end_s) - max(span.start_s, word.start_s) for word in words]
    return any(time > 0.5 * (word.end_s - word.start_s) for time, word in zip(shared, words, strict=True))
