"""What a synthesised corpus says: sentences of grammars, of texts, and of templates filled with people's names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from asr.errors import ConfigError
from asr.synth.names import HELD_OUT_SHARE, Name, held_out_names, mentions, read_names
from asr.synth.queries import Grammar, Query, draw_queries, read_grammar
from asr.synth.sentences import draw_sentences, read_sentences


class NamesConfig(BaseModel):
    """Names that fill a grammar's slots.

    Attributes:
        file: a name a line, or a table; relative to the recipe's file.
        column: of the table.
        slots: the slots whose values the names replace; only templates that hold one of them are used.
        hold_out: of the names that stand in no text of the recipe this share is never spoken, by the rule of
            `asr.synth.names.held_out_names`; 0 speaks them all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    column: str = "name"
    slots: Annotated[tuple[str, ...], Field(min_length=1)] = ("person", "famous")
    hold_out: float = Field(HELD_OUT_SHARE, ge=0, le=1)


class Source(BaseModel):
    """Where some of the sentences come from: either `queries` or `sentences`.

    Attributes:
        queries: a grammar; relative to the recipe's file, as all paths are.
        names: fills slots of the grammar.
        sentences: a text, see `asr.synth.sentences.read_sentences`.
        tags, words, drop: which of its sentences, see `asr.synth.sentences.draw_sentences`.
        share: how often it is drawn from, relative to the other sources.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queries: Path | None = None
    names: NamesConfig | None = None
    sentences: Path | None = None
    tags: tuple[str, ...] = ()
    words: tuple[int, int] = (1, 30)
    drop: str = ""
    share: float = Field(1.0, gt=0)

    @field_validator("words")
    @classmethod
    def _ordered(cls, words: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= words[0] <= words[1]:
            raise ValueError(f"must be [fewest, most], from 1, found {list(words)}")
        return words

    @field_validator("drop")
    @classmethod
    def _compiles(cls, drop: str) -> str:
        try:
            re.compile(drop)
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from error
        return drop

    @model_validator(mode="after")
    def _of_one_kind(self) -> Source:
        if (self.queries is None) == (self.sentences is None):
            raise ValueError("a source is either queries (a grammar) or sentences (a text)")
        if self.names and not self.queries:
            raise ValueError("names fill the slots of a grammar; give queries too")
        if self.queries and {"tags", "words", "drop"} & self.model_fields_set:
            raise ValueError("tags, words and drop choose among sentences of a text, not of a grammar")
        return self

    @property
    def path(self) -> Path:
        """The file of either kind."""
        return cast("Path", self.queries or self.sentences)

    def beside(self, folder: Path) -> Source:
        """The source with its paths as seen from `folder`."""
        names = self.names and self.names.model_copy(update={"file": folder / self.names.file})
        changes = {key: folder / path for key in ("queries", "sentences") if (path := getattr(self, key))}
        return self.model_copy(update={**changes, "names": names})


def draw(
    sources: tuple[Source, ...], n: int, seed: int, split: str, exclude_names: Path | None = None
) -> tuple[list[Query], dict[str, int]]:
    """Draws `n` different sentences of one split; the first sentences of a longer draw are those of a shorter one.

    Args:
        sources: drawn from at random, each in proportion to its share.
        n: how many.
        seed: of every draw.
        split: train, dev or test.
        exclude_names: a list of names; a sentence that mentions one is left out, whatever its source.

    Returns:
        The sentences, and how many were left out of those drawn, by reason.

    Raises:
        ConfigError: the sources have fewer sentences, or no template holds a slot for names.
        InputError: a file cannot be read.
    """
    left_out: Counter[str] = Counter()
    excluded = {name.text for name in read_names(exclude_names).names} if exclude_names else set()
    texts = [source.path for source in sources if source.sentences]
    listed: dict[int, tuple[Name, ...]] = {}
    for number, source in enumerate(sources):
        if source.names:
            found_names = read_names(source.names.file, source.names.column)
            listed[number] = found_names.names
            left_out.update({f"names: {reason}": count for reason, count in found_names.left_out.items()})
            spoken = (name.text for name in found_names.names)
            known = (sentence for path in texts for sentence in known_sentences(path))
            excluded.update(held_out_names(spoken, known, source.names.hold_out))
    streams = []
    for number, source in enumerate(sources):
        # Seeds that end in a number above 0: a trailing 0 would repeat the stream of the recipe's parts.
        rng = np.random.default_rng([seed, 1, number + 1])
        names = [name for name in listed.get(number, ()) if name.text not in excluded]
        left_out["names: held out"] += len(listed.get(number, ())) - len(names)
        streams.append(_stream(source, rng, split, left_out, names))
    shares = np.array([source.share for source in sources])
    order = np.random.default_rng([seed, 3, 1])
    found: dict[str, Query] = {}
    while len(found) < n:
        number = int(order.choice(len(sources), p=shares / shares.sum()))
        query = next(streams[number], None)
        if query is None:
            raise ConfigError(
                f"{sources[number].path}: has too few different sentences in {split} for the {n} asked for"
            )
        if query.text in found:
            left_out["twice"] += 1
        elif mentions(query.text, excluded):
            left_out["mentions a held-out name"] += 1
        else:
            found[query.text] = query
    return list(found.values()), {reason: count for reason, count in left_out.most_common() if count}


def known_sentences(path: Path) -> Iterator[str]:
    """The sentences of a text, or the templates and values of a grammar (``.yaml``), as they stand there."""
    if path.suffix in (".yaml", ".yml"):
        yield from read_grammar(path).spoken()
    else:
        yield from (sentence for _, sentence in read_sentences(path))


def _stream(
    source: Source, rng: np.random.Generator, split: str, left_out: Counter[str], names: list[Name]
) -> Iterator[Query]:
    if source.sentences:
        return draw_sentences(source.path, rng, split, left_out, tags=source.tags, words=source.words, drop=source.drop)
    grammar = read_grammar(source.path)
    return draw_queries(with_names(grammar, names, source.names.slots) if source.names else grammar, rng, split)


def with_names(grammar: Grammar, names: list[Name], slots: tuple[str, ...]) -> Grammar:
    """The templates of `grammar` that hold one of `slots`, with `names` as the values of those slots.

    Raises:
        ConfigError: there is no such template or no name.
    """
    templates = tuple(t for t in grammar.templates if any(f"{{{slot}}}" in t.text for slot in slots))
    if not templates or not names:
        what = f"template with {' or '.join(f'{{{slot}}}' for slot in slots)}" if names else "name that is not held out"
        raise ConfigError(f"there is no {what} to make sentences with names of")
    values = tuple(f"{name.text} | {name.written}" for name in names)
    filled = {slot: values for slot in slots if slot in grammar.slots}
    return grammar.model_copy(update={"templates": templates, "slots": {**grammar.slots, **filled}})
