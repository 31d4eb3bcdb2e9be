"""What a language model expects by itself as phrases, in the order in which it is left out where hints have no room.

A bundle that learned many names expects each of them, its possessive and its further spellings: two dozen phrases a
name, of which a decoder takes some thousands (`asr.decode.hint_text`). So whole names come before all further
spellings, and of either those that were learned last, then those that are asked for most.
"""

from __future__ import annotations

from asr.decode.hint_text import NO_CONTEXTS, Contexts
from asr.decode.lm import LanguageModel
from asr.decode.names import NamesModel
from asr.decode.near import possessive

Phrase = tuple[str, float]


def expected(lm: LanguageModel) -> tuple[Phrase, ...]:
    """The phrases of a language model with their boosts, the most wanted first."""
    if not isinstance(lm, NamesModel):
        return lm.phrases
    wanted = sorted(lm.learned.names, key=lambda name: (-name.round, -name.weight))
    places: dict[str, tuple[int, int]] = {}
    for place, name in enumerate(wanted):
        for rank, text in enumerate((name.text, possessive(name.text), *name.spellings)):
            places[text] = min(places.get(text, (rank, place)), (rank, place))
    last = (len(places), 0)
    return tuple(sorted(lm.phrases, key=lambda phrase: places.get(phrase[0], last)))


def whole_names(lm: LanguageModel) -> frozenset[str]:
    """Those of a model's phrases that are names as they are written."""
    return frozenset(name.text for name in lm.learned.names) if isinstance(lm, NamesModel) else frozenset()


def contexts(lm: LanguageModel) -> Contexts:
    """Where names are worth more: behind the words with which people ask for one."""
    if not isinstance(lm, NamesModel):
        return NO_CONTEXTS
    texts = frozenset(text for text, _ in lm.phrases)
    return Contexts(lm.learned.contexts, lm.learned.context_boost, texts)
