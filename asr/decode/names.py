"""Names that were learned after the language model was built: a class of phrases beside its n-gram.

A packed n-gram cannot be estimated again without its texts. So learned names stand beside it, as a class n-gram (Brown
et al. 1992) does: wherever a sentence goes on, either the base model says the next word, or a name begins. How likely a
name begins here is told by a small n-gram over queries in which every name is one token, `CLASS`; which name it is, by
the names' weights. Within a name its words follow each other. Of the same words several readings may be possible
("will smith" as two words and as a name), and all are summed, so that with ``h`` the words so far ::

    p(word | h) = sum over readings r of h:  p(r | h) * [ (1 - c(r)) * p_ordinary(word | h, r)   outside of names
                                                          + c(r) * q(names that begin so)
                                                          or q(word | begun name) ]              within one

    c(r) = share * p_class(CLASS | r),   share = total weight / (total weight + prior_names)

``share`` makes each name's own probability nearly independent of how many there are. Where a name stands among the
last words, ``p_ordinary`` is half the base model's and half the class n-gram's, since the base model has never seen
what follows an unknown word. Everywhere else it is the base model alone, so a text without names loses no more than
``ln(1 - c)`` a word.

Probabilities alone do not keep a name in the beam: until a word ends, search ranks it by what it is worth without
context. So a name is also a phrase hint of every stream, which is followed letter by letter (`asr.decode.hints`), with
a boost that the bundle says.

A recogniser of letters may hear a name otherwise than it is written. Such spellings ("any emery" for "unai emery") are
further ways to say the name, and where that reading is the likelier one the name is written (`asr.decode.near`).

A name may carry a possessive ``'s``; those of its words that the base model does not know may stand alone ("call
kowalski"). What no name explains keeps a part of the base model's ``<unk>``: with N new words in all names each has a
share of ``1 / (UNSEEN + N)`` of it, so that probabilities add up to one and no word is impossible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import kenlm

from asr.decode.learned import LearnedName, LearnedNames
from asr.decode.lm import Fit, LanguageModel
from asr.decode.near import ALONE, HEARD, POSSESSIVE, Respeller, Way, Words, possessive, written_ways
from asr.errors import BundleError

CLASS = "<name>"

BEHIND = 0.5
"""Weight of the class n-gram behind a name."""
UNSEEN = 100
"""As many words as the new ones of the names are unknown still, as it were, where no name explains them."""


@dataclass(slots=True)
class _Node:
    """A place in the tree of names.

    Attributes:
        mass: share of the uses of names that pass here.
        ends: of those, the share that end here.
    """

    mass: float = 0.0
    ends: float = 0.0
    children: dict[str, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of the words so far.

    Attributes:
        weight: its probability among all readings.
        context: the class n-gram's state; within a name that behind it.
        since: words since the last name, as far as the class n-gram remembers; its order without one.
        node: within a name, the place in it.
    """

    weight: float
    context: Any
    since: int
    node: _Node | None = None


@dataclass(slots=True)
class State:
    """What the model remembers of a sentence.

    Search asks for many states that it never goes on from, so what can wait is worked out when it is asked for.

    Attributes:
        base: KenLM's state of the base model.
        readings: their weights add up to 1.
        later: where no name is near, the class n-gram's state before the last word, and that word, in place of
            `readings`.
        outside: readings that stand outside of names, with what begins there.
    """

    base: Any
    readings: tuple[_Reading, ...] = ()
    later: tuple[Any, str] | None = None
    outside: tuple[_Outside, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Outside:
    """A reading outside of names.

    Attributes:
        begins: probability that a name begins here.
        behind: the class n-gram's state behind that name.
        far: no name stands among the words that the class n-gram remembers.
    """

    weight: float
    context: Any
    since: int
    begins: float
    behind: Any
    far: bool


class NamesModel(LanguageModel):
    """A base model and learned names; used as a `LanguageModel`, with states of its own.

    Args:
        base: the n-gram.
        context: the n-gram over queries with `CLASS` in them.
        learned: the names.

    Raises:
        BundleError: the class n-gram lacks `CLASS`.
    """

    def __init__(self, base: LanguageModel, context: LanguageModel, learned: LearnedNames) -> None:
        if CLASS not in context:
            raise BundleError(f"the n-gram of learned names has no {CLASS}")
        self.base, self.learned = base, learned
        self._context, self._share = context, learned.share
        self._base_words = frozenset(base.words)
        self._context_words = frozenset(context.words)
        self._root = _tree(learned.names, self._base_words)
        words = {word for name in learned.names for word in (*name.text.split(), possessive(name.text).split()[-1])}
        self._lexicon = tuple(sorted({*base.words, *words}))
        spellings = _spellings(learned.names)
        self._respeller = Respeller(written_ways([(name.text, name.weight) for name in learned.names]), spellings)
        words |= {word for way in spellings for word in way}
        super().__init__(base._model, (*base.words, *words))
        self._new = frozenset(words) - self._base_words
        if learned.boost:
            self.phrases = tuple(
                (text, learned.boost)
                for name in learned.names
                for text in (name.text, possessive(name.text), *name.spellings)
            )
        self._still_unknown = UNSEEN / (UNSEEN + len(self._new))
        self._each_new = 1.0 / (UNSEEN + len(self._new))

    def __contains__(self, word: str) -> bool:
        return word in self._base_words or word in self._new

    @property
    def lexicon(self) -> tuple[str, ...]:
        """The words of the base model and of the names, sorted."""
        return self._lexicon

    def spans(self, words: Sequence[str]) -> list[tuple[int, int, str]]:
        """Where words stand for a name (`asr.decode.near`)."""
        return self._respeller.spans(words, self)

    def begins(self, state: State) -> float:
        """The probability that a name begins here."""
        return math.fsum(reading.weight * reading.begins for reading in self._outside(state))

    def ordinary(self, state: State, words: Sequence[str]) -> float:
        """The natural log of the probability of some words as the base model has it."""
        total, base = 0.0, state.base
        for word in words:
            gained, base = self.base.score(base, word)
            total += gained
        return total

    def is_ordinary(self, word: str) -> bool:
        """Whether the base model knows a word."""
        return word in self._base_words

    def start(self) -> State:
        """The state at the beginning of a sentence."""
        return self._state(self.base.start(), self._context.start())

    def empty(self) -> State:
        """The state without any context."""
        return self._state(self.base.empty(), self._context.empty())

    def score(self, state: State, word: str) -> tuple[float, State]:
        """The natural log of p(word | state), and the state after the word; an unknown one scores as ``<unk>``."""
        log_base, base_after = self.base.score(state.base, word)
        base = math.exp(log_base)
        if word not in self._base_words:
            base *= self._each_new if word in self._new else self._still_unknown
        outside = self._outside(state)
        alone = len(state.readings) == 1 and state.readings[0].node is None
        if alone and outside[0].far and word not in self._root.children:
            return math.log(base * (1.0 - outside[0].begins)), State(base_after, later=(outside[0].context, word))
        readings: list[_Reading] = []
        for reading in outside:
            ordinary, context, since = self._ordinary(reading, word, base)
            if (weight := reading.weight * (1.0 - reading.begins) * ordinary) > 0.0:
                readings.append(_Reading(weight, context, since))
            if (node := self._root.children.get(word)) is not None:
                readings.append(_Reading(reading.weight * reading.begins * node.mass, reading.behind, 0, node))
        readings += [
            _Reading(inside.weight * node.mass / inside.node.mass, inside.context, 0, node)
            for inside in state.readings
            if inside.node is not None and (node := inside.node.children.get(word)) is not None
        ]
        total = math.fsum(reading.weight for reading in readings)
        after = tuple(
            _Reading(reading.weight / total, reading.context, reading.since, reading.node) for reading in readings
        )
        return math.log(total), State(base_after, after)

    def end(self, state: State) -> float:
        """The natural log of p(end of sentence | state)."""
        base = math.exp(self.base.end(state.base))
        total = math.fsum(
            reading.weight * (1.0 - reading.begins) * self._ordinary(reading, "</s>", base)[0]
            for reading in self._outside(state)
        )
        return math.log(total)

    def fit(self, sentences: Iterable[str]) -> Fit:
        """Perplexity and out-of-vocabulary rate over sentences of single-spaced words."""
        total, predicted, unknown, words, count = 0.0, 0, 0, 0, 0
        for sentence in sentences:
            count += 1
            state = self.start()
            for word in sentence.split():
                words += 1
                log_prob, state = self.score(state, word)
                unknown += word not in self
                total += log_prob if word in self else 0.0
            total += self.end(state)
        predicted = words - unknown + count
        return Fit(count, words, math.exp(-total / max(1, predicted)), unknown / max(1, words))

    def _state(self, base: kenlm.State, context: kenlm.State) -> State:
        return State(base, (_Reading(1.0, context, self._context.order),))

    def _outside(self, state: State) -> tuple[_Outside, ...]:
        if state.outside is None:
            if state.later is not None:
                context = self._context.score(*state.later)[1]
                state.readings, state.later = (_Reading(1.0, context, self._context.order),), None
            state.outside = tuple(self._leaving(state.readings))
        return state.outside

    def _leaving(self, readings: Sequence[_Reading]) -> Iterator[_Outside]:
        """Readings outside of names, and those that may leave one here."""
        for reading in readings:
            weight = reading.weight
            if reading.node is not None:
                weight *= reading.node.ends / reading.node.mass
            if weight > 0.0:
                log_class, behind = self._context.score(reading.context, CLASS)
                begins = self._share * math.exp(log_class)
                far = reading.since >= self._context.order - 1
                yield _Outside(weight, reading.context, reading.since, begins, behind, far)

    def _ordinary(self, reading: _Outside, word: str, base: float) -> tuple[float, Any, int]:
        """The probability of a word outside of names, the class n-gram's state and the words since a name after it."""
        log_prob, after = self._context.score(reading.context, word)
        if reading.far:
            return base, after, reading.since + 1
        known = word in self._context_words or word in ("</s>", "<unk>")
        guided = math.exp(log_prob) / (1.0 - reading.begins / self._share) if known else 0.0
        return (1.0 - BEHIND) * base + BEHIND * guided, after, reading.since + 1


def _tree(names: Sequence[LearnedName], known: frozenset[str]) -> _Node:
    """All ways to say the names, with their shares."""
    root = _Node(1.0)
    total = math.fsum(name.weight for name in names)
    for name in names:
        new = sorted({word for word in name.text.split() if word not in known and word != name.text})
        whole = 1.0 - POSSESSIVE - (ALONE if new else 0.0) - (HEARD if name.spellings else 0.0)
        ways = [(name.text, whole), (possessive(name.text), POSSESSIVE)]
        ways += [(spelling, HEARD / len(name.spellings)) for spelling in name.spellings]
        ways += [(word, ALONE / len(new)) for word in new]
        for text, share in ways:
            node = root
            for word in text.split():
                node = node.children.setdefault(word, _Node())
                node.mass += share * name.weight / total
            node.ends += share * name.weight / total
    return root


def _spellings(names: Sequence[LearnedName]) -> dict[Words, Way]:
    """Each spelling with the name it stands for, and its share of the uses of names; the weightiest name wins."""
    total = math.fsum(name.weight for name in names)
    found: dict[Words, Way] = {}
    written = {name.text for name in names}
    for name in names:
        for spelling in name.spellings:
            share = HEARD / len(name.spellings) * name.weight / total
            words = tuple(spelling.split())
            if spelling not in written and (words not in found or share > found[words].share):
                found[words] = Way(name.text, share)
    return found
