"""The language model's extension: the list of learned names, and the class n-gram that says where names stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from asr.decode.learned import CLASS_MODEL, NAMES, LearnedName, LearnedNames
from asr.decode.lm_build import estimate, write_arpa
from asr.decode.names import CLASS
from asr.learn.config import ExtensionConfig, NewName, located
from asr.synth.names import Name
from asr.synth.queries import Grammar, draw_queries, read_grammar
from asr.synth.sources import with_names

_STAND_IN = "'name'"
"""A name in a grammar's alphabet that no query holds."""
BARE = 0.05
"""Share of the sentences that are a name and nothing else, as typed into a search box."""
CONTEXT_WORDS = 2
CONTEXT_SHARE = 0.001
"""Of the sentences; rarer contexts are as likely a song's title as a way to ask."""


def merged(
    before: LearnedNames | None,
    names: Sequence[NewName],
    config: ExtensionConfig,
    spellings: Mapping[str, tuple[str, ...]] | None = None,
    contexts: tuple[str, ...] = (),
) -> LearnedNames:
    """The names that a bundle knew and the new ones; one that comes again keeps its place and takes the new weight.

    Args:
        before: what the bundle knew.
        names: the new ones.
        config: prior and boosts.
        spellings: further spellings of names; those of a name that comes again are added to its own.
        contexts: of names, from `name_contexts`.
    """
    spellings = spellings or {}
    old = before.names if before else ()
    number = max((name.round for name in old), default=0) + 1
    weights = {name.text: name.weight for name in names}
    kept = [
        LearnedName(
            name.text,
            weights.get(name.text, name.weight),
            name.round,
            tuple(dict.fromkeys((*name.spellings, *spellings.get(name.text, ())))),
        )
        for name in old
    ]
    known = {name.text for name in old}
    added = [
        LearnedName(text, weight, number, spellings.get(text, ()))
        for text, weight in weights.items()
        if text not in known
    ]
    return LearnedNames((*kept, *added), config.prior_names, config.boost, contexts, config.context_boost)


def class_sentences(config: ExtensionConfig, seed: int) -> list[str]:
    """Queries with `CLASS` where a name stands, and queries in which none does; not all different.

    Raises:
        ConfigError: a grammar that cannot be read.
    """
    grammars = [read_grammar(located(path)) for path in config.queries]
    streams = [
        _repeating(_with_class(grammar, config.slots), np.random.default_rng([seed, 2, number]))
        for number, grammar in enumerate(grammars, start=1)
    ]
    bare = round(BARE * config.sentences)
    drawn = [next(streams[turn % len(streams)]) for turn in range(config.sentences - bare)]
    return [CLASS] * bare + drawn


def name_contexts(config: ExtensionConfig, seed: int) -> tuple[str, ...]:
    """The one or two words before names in `class_sentences`, where they come more than now and then; sorted."""
    counted: Counter[str] = Counter()
    sentences = class_sentences(config, seed)
    for sentence in sentences:
        words = sentence.split()
        for place, word in enumerate(words):
            if place and word.removesuffix("'s") == CLASS:
                counted[" ".join(words[max(0, place - CONTEXT_WORDS) : place])] += 1
    return tuple(sorted(text for text, count in counted.items() if count >= CONTEXT_SHARE * len(sentences)))


def write_extension(learned: LearnedNames, config: ExtensionConfig, seed: int, folder: Path) -> tuple[Path, Path]:
    """Writes `NAMES` and `CLASS_MODEL` into a folder, each whole or not at all; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    write_arpa(estimate(class_sentences(config, seed), order=config.order), folder / CLASS_MODEL)
    names = folder / NAMES
    partial = names.with_name(f"{NAMES}.partial")
    partial.write_text(learned.dump(), encoding="utf-8")
    partial.replace(names)
    return names, folder / CLASS_MODEL


def _with_class(grammar: Grammar, slots: Sequence[str]) -> Grammar:
    """The grammar with one stand-in for all names; all its templates stay."""
    mine = tuple(slot for slot in slots if slot in grammar.slots)
    if not mine:
        return grammar
    filled = with_names(grammar, [Name(_STAND_IN, _STAND_IN)], mine)
    return filled.model_copy(update={"templates": grammar.templates})


def _repeating(grammar: Grammar, rng: np.random.Generator) -> Iterator[str]:
    """Sentences of the train split without end; when new ones are hardly found any more, it begins again."""
    while True:
        for query in draw_queries(grammar, rng, "train"):
            yield " ".join(CLASS if _STAND_IN in word else word for word in query.text.split())
