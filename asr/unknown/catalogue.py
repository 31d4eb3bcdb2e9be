"""A list of names, and which of them were perhaps said in a span of unknown words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from asr.corpus.text import normalise
from asr.errors import TextError
from asr.unknown.forms import SoundIndex, forms
from asr.unknown.letters import pronounce
from asr.unknown.phones import PHONES
from asr.unknown.types import Entity, Proposal, UnknownSpan

_PLAIN = re.compile(r"[a-z']+( [a-z']+)*")
Weight = Annotated[float, Field(allow_inf_nan=False)]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class CatalogueConfig:
    """How a span is matched with names.

    Attributes:
        spellings: of the span that are looked up.
        part: added to the distance where a part of the name was said, or the rest is not where it should be.
        unlikely: added for each nat by which a spelling is less likely than the best.
        sharpness: nats of probability for a distance of 1.
        none: distance from which on it is likelier that none of the names was said.
    """

    spellings: Annotated[int, Field(ge=1, le=50)] = 4
    part: Annotated[float, Field(ge=0, le=1)] = 0.1
    unlikely: Annotated[float, Field(ge=0, le=1)] = 0.01
    sharpness: Annotated[float, Field(gt=0)] = 31.396
    none: Annotated[float, Field(ge=0, le=1)] = 0.356


_DEFAULT = CatalogueConfig()


@dataclass(frozen=True, slots=True)
class _Query:
    """How a stretch around the span sounds, and what is added to its distances."""

    phones: str
    extra: float
    whole_only: bool


class Catalogue:
    """Names with pronunciations, indexed by sound; immutable.

    Args:
        entities: several of the same name count as one with their weights added.

    Attributes:
        left_out: names that cannot be spoken in the recogniser's alphabet, with the number of each reason.
    """

    def __init__(self, entities: Iterable[Entity], config: CatalogueConfig = _DEFAULT) -> None:
        self.config = config
        self.left_out: Counter[str] = Counter()
        found: dict[str, Entity] = {}
        for entity in entities:
            try:
                name = entity.name if _PLAIN.fullmatch(entity.name) else normalise(entity.name)
            except TextError:
                self.left_out["cannot be spoken"] += 1
                continue
            if not any(pronounce(name)):
                self.left_out["holds no letter"] += 1
                continue
            twice = found.get(name)
            weight = entity.weight + (twice.weight if twice else 0.0)
            sounds = (*(twice.pronunciations if twice else ()), *entity.pronunciations)
            found[name] = replace(entity, name=name, weight=weight, pronunciations=sounds)
        self.entities = tuple(found.values())
        places: dict[str, list[tuple[int, bool]]] = {}
        for number, entity in enumerate(self.entities):
            ways = {(phones, True) for phones in entity.pronunciations if phones and set(phones) <= set(PHONES)}
            for form in forms(entity.name.split()):
                ways |= {(phones, form.whole) for phones in pronounce(form.text)}
            for phones, whole in sorted(ways):
                places.setdefault(phones, []).append((number, whole))
        self._index = SoundIndex(list(places))
        self._meant = list(places.values())
        mean = sum(entity.weight for entity in self.entities) / max(1, len(self.entities))
        self._prior = [math.log(entity.weight / mean) for entity in self.entities]

    @classmethod
    def of_names(cls, names: Iterable[str]) -> Catalogue:
        """Names alone, all as likely."""
        return cls(Entity(name) for name in names if name.strip())

    def __len__(self) -> int:
        return len(self.entities)

    def propose(self, span: UnknownSpan, k: int = 10) -> list[Proposal]:
        """The names that sound most like the span, likeliest first.

        A name may be said in full within the span, in part (the surname or the given name alone), or in full with
        a part that was understood and stands beside the span.

        Args:
            span: to match.
            k: how many at most.

        Returns:
            Proposals whose probabilities, with that of none of the catalogue's names, add up to at most 1.
        """
        queries = self._queries(span)
        if not self.entities or not queries:
            return []
        places, apart = self._index.nearest([query.phones for query in queries])
        least: dict[int, float] = {}
        for query, row, found in zip(queries, places.tolist(), apart.tolist(), strict=True):
            for place, distance in zip(row, found, strict=True):
                for number, whole in self._meant[place]:
                    if whole or not query.whole_only:
                        total = min(1.0, distance + query.extra + (0.0 if whole else self.config.part))
                        least[number] = min(least.get(number, 1.0), total)
        return _ranked(
            [(self.entities[n].name, distance, self._prior[n]) for n, distance in least.items()], self.config, k
        )

    def _queries(self, span: UnknownSpan) -> list[_Query]:
        best = max((spelling.log_prob for spelling in span.spellings), default=0.0)
        found: dict[tuple[str, bool], float] = {}
        for spelling in span.spellings[: self.config.spellings]:
            extra = self.config.unlikely * (best - spelling.log_prob)
            beside = [span.before[-count:] for count in (1, 2) if len(span.before) >= count]
            around = [spelling.text, *(" ".join([*words, spelling.text]) for words in beside)]
            if span.after:
                around.append(f"{spelling.text} {span.after[0]}")
            for text in around:
                key = (pronounce(text)[0], text != spelling.text)
                found[key] = min(found.get(key, 1.0), extra)
        return [_Query(phones, extra, beside) for (phones, beside), extra in found.items() if phones]


def _ranked(found: list[tuple[str, float, float]], config: CatalogueConfig, k: int) -> list[Proposal]:
    """Proposals from names, distances and log priors."""
    logs = np.array([prior - config.sharpness * distance for _, distance, prior in found])
    total = float(np.logaddexp.reduce([*logs, -config.sharpness * config.none]))
    order = sorted(range(len(found)), key=lambda place: (-logs[place], found[place][0]))[:k]
    return [
        Proposal(name, distance, math.exp(float(logs[place]) - total), prior)
        for place, (name, distance, prior) in ((place, found[place]) for place in order)
    ]
