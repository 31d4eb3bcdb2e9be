"""What is said: a grammar of query templates and slots, expanded at random but reproducibly.

A sentence belongs to one split by a hash of its words alone, so the same sentence never stands in two
splits, whichever grammar, seed or number of sentences produced it.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from asr.errors import ConfigError

if TYPE_CHECKING:
    import inflect

ALPHABET = re.compile(r"[a-z']+( [a-z']+)*")
SPLIT_SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}
_SLOT = re.compile(r"\{(\w+)\}")
_MAX_DEPTH = 8
_TRIES_PER_SENTENCE = 2000


@dataclass(frozen=True, slots=True)
class Query:
    """One sentence: as spoken (alphabet a-z ' space), and as written where that differs (else empty).

    Attributes:
        origin: the text it comes from, ``file:tag``; empty if a grammar made it.
    """

    text: str
    written: str = ""
    origin: str = ""


class Numbers(BaseModel):
    """A slot of whole numbers, spoken as words and written in digits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int = Field(ge=0)
    last: int = Field(le=9999)
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Numbers:
        if self.first > self.last:
            raise ValueError("first must not be greater than last")
        return self


class Template(BaseModel):
    """One way to ask, and how often it is drawn relative to the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    weight: float = Field(1.0, gt=0)


class Grammar(BaseModel):
    """Templates and the slots they name.

    A template or value is ``spoken`` or ``spoken | written`` and may hold ``{slot}``; an empty value leaves the
    slot out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    slots: dict[str, Numbers | Annotated[tuple[str, ...], Field(min_length=1)]]

    @model_validator(mode="before")
    @classmethod
    def _plain_templates(cls, content: object) -> object:
        if isinstance(content, dict) and isinstance(content.get("templates"), list):
            rows = [{"text": row} if isinstance(row, str) else row for row in content["templates"]]
            return {**content, "templates": rows}
        return content

    @model_validator(mode="after")
    def _consistent(self) -> Grammar:
        named: set[str] = set()
        for text in (*(template.text for template in self.templates), *self._values()):
            spoken, _, written = text.partition("|")
            if written and _SLOT.findall(spoken) != _SLOT.findall(written):
                raise ValueError(f"{text!r} must name the same slots in the same order on both sides of |")
            bare = " ".join(_SLOT.sub(" ", spoken).split())
            if bare and not ALPHABET.fullmatch(bare):
                raise ValueError(f"{spoken.strip()!r} is not made of a-z, apostrophe and blanks")
            named.update(_SLOT.findall(spoken))
        if named - set(self.slots):
            raise ValueError(f"slot {min(named - set(self.slots))!r} is used and not defined")
        if set(self.slots) - named:
            raise ValueError(f"slot {min(set(self.slots) - named)!r} is defined and not used")
        return self

    def spoken(self) -> list[str]:
        """Every template and value in spoken form, without its slots."""
        texts = (*(template.text for template in self.templates), *self._values())
        return [" ".join(_SLOT.sub(" ", text.partition("|")[0]).split()) for text in texts]

    def _values(self) -> list[str]:
        return [value for values in self.slots.values() if isinstance(values, tuple) for value in values]


def read_grammar(path: str | Path) -> Grammar:
    """Reads and checks a grammar.

    Raises:
        ConfigError: the file is missing, not YAML, or its content makes no sense.
    """
    path = Path(path)
    try:
        return Grammar.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: the query grammar cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {where + ': ' if where else ''}{message}") from error


def split_of(text: str) -> str:
    """The split to which a sentence belongs, by the hash of its words."""
    position = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    if position < SPLIT_SHARES["train"]:
        return "train"
    return "dev" if position < SPLIT_SHARES["train"] + SPLIT_SHARES["dev"] else "test"


def queries(grammar: Grammar, n: int, seed: int, split: str) -> list[Query]:
    """Draws `n` different sentences of one split; the first sentences of a longer draw are those of a shorter one.

    Raises:
        ConfigError: unknown split, or the grammar has fewer sentences.
    """
    found = list(itertools.islice(draw_queries(grammar, np.random.default_rng(seed), split), n))
    if len(found) < n:
        raise ConfigError(f"the grammar has only about {len(found)} different sentences in {split}, asked for {n}")
    return found


def draw_queries(grammar: Grammar, rng: np.random.Generator, split: str) -> Iterator[Query]:
    """Draws different sentences of one split, until new ones are hardly ever found.

    Raises:
        ConfigError: unknown split.
    """
    if split not in SPLIT_SHARES:
        raise ConfigError(f"unknown split {split!r}; known: {', '.join(SPLIT_SHARES)}")
    weights = np.array([template.weight for template in grammar.templates])
    cumulative = np.cumsum(weights / weights.sum())
    found: set[str] = set()
    tries = 0
    while tries <= _TRIES_PER_SENTENCE:
        template = grammar.templates[min(int(np.searchsorted(cumulative, rng.random())), len(cumulative) - 1)]
        query = _expand(grammar, template.text, rng)
        tries += 1
        if split_of(query.text) == split and query.text not in found:
            found.add(query.text)
            tries = 0
            yield query


def _expand(grammar: Grammar, text: str, rng: np.random.Generator) -> Query:
    spoken, written = _fill(grammar, text, rng, 0)
    return Query(spoken, "" if written == spoken else written)


def _fill(grammar: Grammar, text: str, rng: np.random.Generator, depth: int) -> tuple[str, str]:
    """Spoken and written form of `text` with every slot filled; both sides of ``|`` get the same values."""
    if depth > _MAX_DEPTH:
        raise ConfigError(f"the grammar's slots contain each other: {text!r}")
    spoken, bar, written = text.partition("|")
    fillings = [_draw(grammar, name, rng, depth) for name in _SLOT.findall(spoken)]
    forms = []
    for form, values in ((spoken, [f[0] for f in fillings]), (written if bar else spoken, [f[1] for f in fillings])):
        rest = iter(values)
        forms.append(" ".join(_SLOT.sub(lambda _, rest=rest: next(rest), form).split()))  # type: ignore[misc]
    return forms[0], forms[1]


def _draw(grammar: Grammar, name: str, rng: np.random.Generator, depth: int) -> tuple[str, str]:
    values = grammar.slots[name]
    if isinstance(values, Numbers):
        number = values.first + values.step * int(rng.integers((values.last - values.first) // values.step + 1))
        return spoken_number(number), str(number)
    return _fill(grammar, values[int(rng.integers(len(values)))], rng, depth + 1)


@functools.cache
def spoken_number(number: int) -> str:
    """``number`` in words: 42 is ``forty two``."""
    words = str(_inflect().number_to_words(number, andword=""))  # type: ignore[arg-type]
    return " ".join(words.replace("-", " ").replace(",", " ").split())


@functools.cache
def _inflect() -> inflect.engine:
    import inflect

    return inflect.engine()
