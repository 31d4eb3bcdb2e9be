"""The automaton of phrase hints in arrays: built from states over words, and stepped by the inner loop of beam search.

It matches as Aho and Corasick (1975) do, leftmost-longest: a place is how far a phrase has been followed, letter by
letter; where it goes no further, `fail` leads to the longest rest that begins at a word, and `commit` says what the
phrases completed on the way are worth. So the worth of a text is a sum over its matches, whatever was tried between.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

START = 0
"""Between words, no phrase begun."""
ASTRAY = 1
"""Within a word with which no phrase begins."""


class Graph(NamedTuple):
    """Places of the automaton, P of them; all arrays are read-only.

    Attributes:
        children: (P, letters) the place after one more letter of the open word, 0 for none.
        after: (P,) the place when the open word ends and the phrase goes on, 0 for none.
        fail: (P,) where to try again if neither leads on.
        commit: (P,) what is granted for good on the way there, in nats.
        end: (P,) the worth of the phrase that is complete if the open word ends here; NaN for none.
        close: (P,) what is granted if the text ends here.
        ahead: (P,) the part of a phrase's worth by which a prefix is ranked meanwhile, where the open word has a
            score of its own.
        ahead_new: (P,) the same where the hint gives it one, with that score; -inf where it does not.
    """

    children: Array
    after: Array
    fail: Array
    commit: Array
    end: Array
    close: Array
    ahead: Array
    ahead_new: Array


class States(NamedTuple):
    """The automaton over words, S states in an order in which `fail` leads back; 0 is `START`.

    Attributes:
        fail: (S,) as in `Graph`, by states.
        commit: (S,) likewise.
        relief: (S,) what the words behind would cost less as parts of a phrase, in nats.
        done: (S,) letters behind.
        edge_state, edge_word: (E,) words that lead on, in the order of their states.
        edge_boost, edge_end: (E,) of the phrase that is complete with it, and its worth; NaN for none.
        edge_next: (E,) the state behind if a phrase goes on, -1 if none does.
        letters, offsets: the words' letters in one, and where each word begins.
        relieved: (W,) whether a word costs less as a part of a phrase.
    """

    fail: Array
    commit: Array
    relief: Array
    done: Array
    edge_state: Array
    edge_word: Array
    edge_boost: Array
    edge_end: Array
    edge_next: Array
    letters: Array
    offsets: Array
    relieved: Array


@numba.njit(cache=True, nogil=True)
def follow(graph: Graph, place: int, letter: int) -> tuple[int, float]:
    """Where one more letter of a word leads, and what is granted on the way."""
    granted = 0.0
    while graph.children[place, letter] == 0:
        if place <= ASTRAY:
            return ASTRAY, granted
        granted += graph.commit[place]
        place = graph.fail[place]
    return int(graph.children[place, letter]), granted


@numba.njit(cache=True, nogil=True)
def end_word(graph: Graph, place: int) -> tuple[int, float]:
    """Where the end of a word leads, and what is granted on the way."""
    granted = 0.0
    while place > ASTRAY:
        if graph.after[place]:
            return int(graph.after[place]), granted
        if not np.isnan(graph.end[place]):
            return START, granted + graph.end[place]
        granted += graph.commit[place]
        place = graph.fail[place]
    return START, granted


@numba.njit(cache=True, nogil=True)
def _better(boost: float, left: int, than: float, than_left: int) -> bool:
    return boost > than or (boost == than and left < than_left)


@numba.njit(cache=True, nogil=True)
def _promises(states: States) -> tuple[Array, Array]:
    """For each state the best boost that lies ahead and the letters that are left until it is reached."""
    boosts = np.full(len(states.fail), -np.inf)
    left = np.zeros(len(states.fail), np.int64)
    changed = True
    while changed:
        changed = False
        for edge in range(len(states.edge_word) - 1, -1, -1):
            state, word, behind = states.edge_state[edge], states.edge_word[edge], states.edge_next[edge]
            length = states.offsets[word + 1] - states.offsets[word]
            if not np.isnan(states.edge_boost[edge]) and _better(
                states.edge_boost[edge], length, boosts[state], left[state]
            ):
                boosts[state], left[state], changed = states.edge_boost[edge], length, True
            if behind >= 0 and _better(boosts[behind], length + left[behind], boosts[state], left[state]):
                boosts[state], left[state], changed = boosts[behind], length + left[behind], True
    return boosts, left


@numba.njit(cache=True, nogil=True)
def _claim(relief: float, boost: float, done: int, left: int) -> float:
    """What is granted of a phrase that is followed so far, as long as it is followed."""
    if boost == -np.inf:
        return -np.inf
    return (relief if boost > 0.0 else 0.0) + boost * done / max(1, done + left)


class _Letters(NamedTuple):
    """The letters of each state's words as tries, P places in all: state by state, parents first.

    Attributes:
        children, after, end: as in `Graph`.
        parent, letter, depth: (P,) how a place within a word is reached, and how far it is into the word.
        first: (S + 1,) where the places within the words of each state begin.
        boost, left: (P, 2) the best boost ahead, through words with a score of their own and through others, and the
            letters left to it.
    """

    children: Array
    after: Array
    end: Array
    parent: Array
    letter: Array
    depth: Array
    first: Array
    boost: Array
    left: Array


@numba.njit(cache=True, nogil=True)
def _place(state: int) -> int:
    """The place between words that is a state."""
    return state + 1 if state > START else START


@numba.njit(cache=True, nogil=True)
def _aim(to: _Letters, place: int, kind: int, boost: float, left: int) -> None:
    if _better(boost, left, to.boost[place, kind], to.left[place, kind]):
        to.boost[place, kind], to.left[place, kind] = boost, left


@numba.njit(cache=True, nogil=True)
def _spell(states: States, alphabet: int, promised: Array, promised_left: Array) -> _Letters:
    count = len(states.fail)
    most = count + 1
    for word in states.edge_word:
        most += states.offsets[word + 1] - states.offsets[word]
    to = _Letters(
        np.zeros((most, alphabet), np.int32), np.zeros(most, np.int32), np.full(most, np.nan),
        np.zeros(most, np.int32), np.zeros(most, np.int32), np.zeros(most, np.int32), np.zeros(count + 1, np.int64),
        np.full((most, 2), -np.inf), np.zeros((most, 2), np.int64),
    )  # fmt: skip
    used, edge = count + 1, 0
    for state in range(count):
        to.first[state] = used
        while edge < len(states.edge_word) and states.edge_state[edge] == state:
            word, behind = states.edge_word[edge], states.edge_next[edge]
            begin, stop = states.offsets[word], states.offsets[word + 1]
            kind = 1 if states.relieved[word] else 0
            place = _place(state)
            for index in range(begin, stop):
                letter = states.letters[index]
                following = to.children[place, letter]
                if following == 0:
                    following = used
                    used += 1
                    to.children[place, letter] = following
                    to.parent[following], to.letter[following] = place, letter
                    to.depth[following] = index - begin + 1
                place = following
                _aim(to, place, kind, states.edge_boost[edge], stop - 1 - index)
                if behind >= 0:
                    _aim(to, place, kind, promised[behind], stop - 1 - index + promised_left[behind])
            to.end[place] = states.edge_end[edge]
            to.after[place] = _place(behind) if behind >= 0 else 0
            edge += 1
    to.first[count] = used
    return to


@numba.njit(cache=True, nogil=True)
def build(states: States, alphabet: int, new_word: float) -> Graph:
    """The automaton over letters.

    Args:
        states: over words.
        alphabet: how many letters there are.
        new_word: the score of a word that is relieved, as a part of a phrase.
    """
    promised, promised_left = _promises(states)
    tries = _spell(states, alphabet, promised, promised_left)
    used = tries.first[-1]
    graph = Graph(
        tries.children[:used].copy(), tries.after[:used].copy(), np.zeros(used, np.int32), np.zeros(used),
        tries.end[:used].copy(), np.zeros(used), np.zeros(used), np.full(used, -np.inf),
    )  # fmt: skip
    for state in range(len(states.fail)):
        relief, done = states.relief[state], states.done[state]
        if state:
            place, back, granted = _place(state), _place(states.fail[state]), states.commit[state]
            graph.fail[place], graph.commit[place] = back, granted
            graph.close[place] = granted + graph.close[back]
            claim = _claim(relief, promised[state], done, promised_left[state])
            graph.ahead[place] = max(claim, granted + graph.ahead[back])
        for place in range(tries.first[state], tries.first[state + 1]):
            back, granted = ASTRAY, 0.0
            if state:
                before = tries.parent[place]
                back, granted = follow(graph, graph.fail[before], tries.letter[place])
                granted += graph.commit[before]
            graph.fail[place], graph.commit[place] = back, granted
            graph.close[place] = granted + graph.close[back] if np.isnan(graph.end[place]) else graph.end[place]
            so_far = done + tries.depth[place]
            known = _claim(relief, tries.boost[place, 0], so_far, tries.left[place, 0])
            new = _claim(relief, tries.boost[place, 1], so_far, tries.left[place, 1])
            graph.ahead[place] = max(known, granted + graph.ahead[back])
            graph.ahead_new[place] = max(new + new_word, granted + graph.ahead_new[back])
    return graph
