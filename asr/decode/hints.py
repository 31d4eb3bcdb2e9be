"""Phrase hints: words that a request makes likelier, compiled for beam search.

With hints the score of a text gains the worth of each phrase in it. Matches are whole words, leftmost-longest and
without overlap; a phrase's worth is its boost in nats and, if that is positive, the *relief* of its words: a word
whose score out of context is below ``-hint_word_cost``, as that of an unknown word is, costs no more than that within
the phrase. Reliefs are rounded to whole nats, so that automata stay small. A phrase that is not completed changes
nothing in the end.

A phrase may name classes (``call $CONTACT``). The automaton over words is determined state by state; contexts after
which the same can follow at the same worth share their states, so that a class in many phrases stands in it once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr.decode.hint_graph import START, Graph, States, build
from asr.decode.hint_text import CLASS_MARK, EXPECTED, NO_CONTEXTS, Contexts, Spoken, Unused, Words, speak
from asr.decode.types import Tokens

MAX_PLACES = 300_000
"""Of an automaton; at 28 letters one takes 150 bytes."""

_Position = tuple[int, int, int]
"""Within a phrase: (-1, -1, node), or within a class's item: (class, node in it, node of the phrase behind it)."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """What hints are worth.

    Attributes:
        boost: of a phrase without its own, in nats.
        word_cost: a word's score within a phrase is at least minus this, if it is the only one.
        crowd_cost: added to that for each natural-log unit of how many words phrases can begin with.
        word_bonus: as the decoder's; it is part of a word's score while the word is open.
        word_score: a word's score out of context; None if words have no scores.
    """

    boost: float
    word_cost: float
    word_bonus: float = 0.0
    word_score: Callable[[str], float] | None = None
    crowd_cost: float = 0.0

    def cost(self, words: int) -> float:
        """What a word costs at most within a phrase, where phrases can begin with so many."""
        return self.word_cost + self.crowd_cost * math.log(max(1, words))

    def relief(self, word: str, cost: float) -> float:
        """Whole nats by which a word costs less within a phrase, where none costs more than `cost`."""
        if self.word_score is None:
            return 0.0
        return float(max(0, round(-cost - self.word_score(word))))


@dataclass(frozen=True, slots=True, eq=False)
class Hints:
    """Compiled hints for one decoder; immutable, so that streams and threads may share them.

    Attributes:
        key: names phrases, boosts and classes (see `content_key`).
        tokens: symbols they are compiled for.
        graph: the automaton.
        unused: phrases and items that play no part, as given, with the reasons.
        phrases: how many play one.
        names_left_out, spellings_left_out: of what the language model expects by itself, what there was no room for:
            names as they are written, and further spellings.
    """

    key: str
    tokens: Tokens
    graph: Graph
    unused: tuple[Unused, ...]
    phrases: int
    names_left_out: int = 0
    spellings_left_out: int = 0


def content_key(
    phrases: Iterable[tuple[str, float]], classes: Mapping[str, Sequence[str]], contexts: Contexts | None = None
) -> str:
    """A digest of hints whatever their order, for a cache of compiled ones (of one decoder)."""
    content = [sorted(map(list, phrases)), sorted([name, *sorted(items)] for name, items in classes.items())]
    if contexts is not None:
        content.append([*sorted(contexts.words), str(contexts.boost), *sorted(contexts.texts)])
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def compile_hints(
    phrases: Iterable[tuple[str, float]],
    classes: Mapping[str, Sequence[str]],
    tokens: Tokens,
    pricing: Pricing,
    contexts: Contexts = NO_CONTEXTS,
) -> Hints:
    """Compiles phrases; never raises for what they say.

    Args:
        phrases: texts and boosts (see `asr.decode.hint_text.speak`); their order plays no part.
        classes: items by name.
        tokens: the decoder's symbols.
        pricing: what hints are worth in it.
        contexts: in which some of the phrases are worth more.
    """
    phrases = list(phrases)
    alphabet = sorted(set("".join(tokens.pieces)))
    spoken = speak(phrases, classes, alphabet, pricing.boost, contexts)
    kept, dropped = _within_bounds(spoken, pricing)
    letters = np.zeros(128, np.int32)
    letters[[ord(letter) for letter in alphabet if letter.isascii()]] = [
        index for index, letter in enumerate(alphabet) if letter.isascii()
    ]
    graph = build(kept.arrays(letters), max(1, len(alphabet)), pricing.word_bonus - kept.cost)
    for array in graph:
        array.setflags(write=False)
    used = sum(not _is_expected(words) for words in spoken.phrases) - len(dropped)
    return Hints(content_key(phrases, classes), tokens, graph, (*spoken.unused, *dropped), used)


def _within_bounds(spoken: Spoken, pricing: Pricing) -> tuple[_Automaton, list[Unused]]:
    """The automaton over words, without phrases whose classes multiply beyond `MAX_PLACES`.

    The language model's own contexts go first, and silently: nobody asked for them, and the phrases themselves stay.
    """
    phrases = dict(spoken.phrases)
    dropped: list[Unused] = []
    for too_many in (_is_expected, lambda words: _classes(words) > 1, lambda words: _classes(words) > 0):
        automaton = _Automaton(Spoken(phrases, spoken.classes, ()), pricing)
        if automaton.places <= MAX_PLACES:
            return automaton, dropped
        for words in list(filter(too_many, phrases)):
            del phrases[words]
            if not _is_expected(words):
                dropped.append((" ".join(words), "its classes multiply to more than the automaton holds; name fewer"))
    return _Automaton(Spoken(phrases, {}, ()), pricing), dropped


def _is_expected(words: Words) -> bool:
    """Whether words are what is expected behind a context, which is no phrase of its own."""
    return words[-1] == CLASS_MARK + EXPECTED


def _classes(words: Words) -> int:
    return sum(word.startswith(CLASS_MARK) for word in words)


class _Automaton:
    """The automaton over words, determined breadth first so that a state's `fail` is complete before it is."""

    def __init__(self, spoken: Spoken, pricing: Pricing) -> None:
        self.places = 2
        self._relief: dict[str, float] = {}
        self._words: dict[str, int] = {}
        self._trie = _PhraseTrie(spoken.phrases)
        names = sorted(spoken.classes)
        self._classes = {CLASS_MARK + name: index for index, name in enumerate(names)}
        self._items = [_ItemTrie(sorted(spoken.classes[name])) for name in names]
        self._fail, self._commit, self._behind, self._done = [START], [0.0], [0.0], [0]
        self._out: list[dict[str, int]] = []
        self._edges: list[tuple[int, int, float, float, int]] = []
        self._states: dict[tuple[tuple[_Position, ...], int, float, float], int] = {}
        start: tuple[_Position, ...] = ((-1, -1, 0),)
        self.cost = pricing.cost(len(self._following(start)))
        self._queue = deque([start])
        while self._queue and self.places <= MAX_PLACES:
            self._expand(self._queue.popleft(), pricing)

    def arrays(self, letters: np.ndarray) -> States:
        """For `asr.decode.hint_graph.build`; `letters` (128,) gives the index of each ASCII character."""
        spelled = np.frombuffer("".join(self._words).encode("ascii"), np.uint8)
        edges = np.array(self._edges, np.float64).reshape(-1, 5)
        return States(
            fail=np.array(self._fail, np.int64),
            commit=np.array(self._commit),
            relief=np.array(self._behind),
            done=np.array(self._done, np.int64),
            edge_state=edges[:, 0].astype(np.int64),
            edge_word=edges[:, 1].astype(np.int64),
            edge_boost=edges[:, 2].copy(),
            edge_end=edges[:, 3].copy(),
            edge_next=edges[:, 4].astype(np.int64),
            letters=letters[spelled],
            offsets=np.cumsum([0, *map(len, self._words)], dtype=np.int64),
            relieved=np.array([self._relief[word] > 0 for word in self._words], np.bool_),
        )

    def _expand(self, positions: tuple[_Position, ...], pricing: Pricing) -> None:
        state = len(self._out)
        self._out.append({})
        for word, following in self._following(positions).items():
            if word not in self._words:
                self._words[word] = len(self._words)
                self._relief[word] = pricing.relief(word, self.cost)
            relief = self._behind[state] + self._relief[word]
            boost = self._trie.boost(following)
            worth = math.nan if boost is None else boost + (relief if boost > 0 else 0.0)
            onward = tuple(sorted(position for position in following if self._goes_on(position)))
            behind = self._state(state, word, onward, worth, relief) if onward else -1
            self._out[state][word] = len(self._edges)
            self._edges.append((state, self._words[word], math.nan if boost is None else boost, worth, behind))
            self.places += len(word)

    def _state(self, state: int, word: str, onward: tuple[_Position, ...], worth: float, relief: float) -> int:
        """The state behind a word, one that is there already if nothing tells them apart."""
        if not math.isnan(worth):
            fail, commit = START, worth
        elif state == START:
            fail, commit = START, 0.0
        else:
            fail, commit = self._retry(self._fail[state], word)
            commit += self._commit[state]
        key = (onward, fail, commit, relief)
        if (found := self._states.get(key)) is None:
            found = self._states[key] = len(self._fail)
            self._fail.append(fail)
            self._commit.append(commit)
            self._behind.append(relief)
            self._done.append(self._done[state] + len(word))
            self._queue.append(onward)
            self.places += 1
        return found

    def _retry(self, state: int, word: str) -> tuple[int, float]:
        """Where a word leads from a state, and what is granted on the way."""
        granted = 0.0
        while (edge := self._out[state].get(word)) is None:
            if state == START:
                return START, granted
            granted += self._commit[state]
            state = self._fail[state]
        _, _, _, worth, behind = self._edges[edge]
        return (behind, granted) if behind >= 0 else (START, granted + worth)

    def _following(self, positions: tuple[_Position, ...]) -> dict[str, list[_Position]]:
        """Words that lead on, and where to."""
        found: dict[str, list[_Position]] = {}
        for owner, node, behind in positions:
            if owner >= 0:
                self._enter(found, owner, node, behind)
                continue
            for word, child in self._trie.children[behind].items():
                if word.startswith(CLASS_MARK):
                    self._enter(found, self._classes[word], 0, child)
                else:
                    found.setdefault(word, []).append((-1, -1, child))
        return found

    def _enter(self, found: dict[str, list[_Position]], owner: int, node: int, behind: int) -> None:
        """Adds the next words of the items of a class, behind which a phrase goes on at `behind`."""
        items = self._items[owner]
        for word, child in items.children[node].items():
            reached = found.setdefault(word, [])
            if items.complete[child]:
                reached.append((-1, -1, behind))
            if items.children[child]:
                reached.append((owner, child, behind))

    def _goes_on(self, position: _Position) -> bool:
        return position[0] >= 0 or bool(self._trie.children[position[2]])


class _PhraseTrie:
    """Phrases by their words; where classes are named, equal rests of phrases are one."""

    def __init__(self, phrases: Mapping[Words, float]) -> None:
        self.children: list[dict[str, int]] = [{}]
        self._boosts: list[float | None] = [None]
        self._written_out = [True]
        with_class: set[int] = set()
        for words, boost in phrases.items():
            path = [0]
            for word in words:
                below = self.children[path[-1]]
                if word not in below:
                    below[word] = len(self.children)
                    self.children.append({})
                    self._boosts.append(None)
                    self._written_out.append(self._written_out[path[-1]] and not word.startswith(CLASS_MARK))
                path.append(below[word])
            self._boosts[path[-1]] = boost
            if any(word.startswith(CLASS_MARK) for word in words):
                with_class.update(path)
        same: dict[int, int] = {}
        first: dict[tuple[object, ...], int] = {}
        for node in sorted(with_class, reverse=True):  # children have higher numbers than their parents
            below = {word: same.get(child, child) for word, child in self.children[node].items()}
            self.children[node] = below
            content = (self._boosts[node], self._written_out[node], tuple(sorted(below.items())))
            same[node] = first.setdefault(content, node)

    def boost(self, positions: Iterable[_Position]) -> float | None:
        """Of the phrase that is complete; one that is written out wins over those with classes, then the greatest."""
        found = [
            (self._written_out[node], boost)
            for owner, _, node in positions
            if owner < 0 and (boost := self._boosts[node]) is not None
        ]
        return max(found)[1] if found else None


class _ItemTrie:
    """The items of a class by their words."""

    def __init__(self, items: Iterable[Words]) -> None:
        self.children: list[dict[str, int]] = [{}]
        self.complete = [False]
        for words in items:
            node = 0
            for word in words:
                below = self.children[node]
                if word not in below:
                    below[word] = len(self.children)
                    self.children.append({})
                    self.complete.append(False)
                node = below[word]
            self.complete[node] = True
