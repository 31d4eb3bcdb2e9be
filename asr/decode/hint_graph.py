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


@numba.njit(cache=True, nogil=True)
def build(states: States, alphabet: int, new_word: float) -> Graph:
    """The automaton over letters.

    Args:
        states: over words.
        alphabet: how many letters there are.
        new_word: the score of a word that is relieved, as a part of a phrase.
    """
    count = len(states.fail)
    capacity = count + 1
    for edge in range(len(states.edge_word)):
        capacity += states.offsets[states.edge_word[edge] + 1] - states.offsets[states.edge_word[edge]]
    children = np.zeros((capacity, alphabet), np.int32)
    after = np.zeros(capacity, np.int32)
    fail = np.zeros(capacity, np.int32)
    commit = np.zeros(capacity)
    end = np.full(capacity, np.nan)
    parent = np.zeros(capacity, np.int32)
    letter = np.zeros(capacity, np.int32)
    depth = np.zeros(capacity, np.int32)
    first = np.zeros(count + 1, np.int64)  # a state's places within a word: from here to the next state's
    # Best boost ahead and letters left to it, through words with a score of their own and through others.
    boost = np.full((capacity, 2), -np.inf)
    left = np.zeros((capacity, 2), np.int64)
    promised, promised_left = _promises(states)

    used, edge = count + 1, 0
    for state in range(count):
        first[state] = used
        while edge < len(states.edge_word) and states.edge_state[edge] == state:
            word, behind = states.edge_word[edge], states.edge_next[edge]
            begin, stop = states.offsets[word], states.offsets[word + 1]
            kind = 1 if states.relieved[word] else 0
            place = state + (state > 0)
            for index in range(begin, stop):
                following = children[place, states.letters[index]]
                if following == 0:
                    following = used
                    used += 1
                    children[place, states.letters[index]] = following
                    parent[following], letter[following] = place, states.letters[index]
                    depth[following] = index - begin + 1
                place = following
                rest = stop - 1 - index
                if _better(states.edge_boost[edge], rest, boost[place, kind], left[place, kind]):
                    boost[place, kind], left[place, kind] = states.edge_boost[edge], rest
                if behind >= 0:
                    rest += promised_left[behind]
                    if _better(promised[behind], rest, boost[place, kind], left[place, kind]):
                        boost[place, kind], left[place, kind] = promised[behind], rest
            end[place] = states.edge_end[edge]
            after[place] = behind + (behind > 0) if behind >= 0 else 0
            edge += 1
    first[count] = used

    close = np.zeros(used)
    ahead = np.zeros(used)
    ahead_new = np.full(used, -np.inf)
    graph = Graph(
        children[:used].copy(), after[:used].copy(), fail[:used].copy(), commit[:used].copy(), end[:used].copy(),
        close, ahead, ahead_new,
    )  # fmt: skip
    for state in range(count):
        base = state + (state > 0)
        relief, done = states.relief[state], states.done[state]
        if state:
            back = states.fail[state] + (states.fail[state] > 0)
            graph.fail[base], graph.commit[base] = back, states.commit[state]
            close[base] = states.commit[state] + close[back]
            claim = _claim(relief, promised[state], done, promised_left[state])
            ahead[base] = max(claim, states.commit[state] + ahead[back])
        for place in range(first[state], first[state + 1]):
            graph.fail[place] = ASTRAY
            if state:
                back, granted = follow(graph, graph.fail[parent[place]], letter[place])
                graph.fail[place], graph.commit[place] = back, graph.commit[parent[place]] + granted
            back, granted = graph.fail[place], graph.commit[place]
            close[place] = granted + close[back] if np.isnan(end[place]) else end[place]
            so_far = done + depth[place]
            known = _claim(relief, boost[place, 0], so_far, left[place, 0])
            new = _claim(relief, boost[place, 1], so_far, left[place, 1])
            ahead[place] = max(known, granted + ahead[back])
            ahead_new[place] = max(new + new_word, granted + ahead_new[back])
    return graph
