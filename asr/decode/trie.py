"""The vocabulary as a trie in arrays, for the compiled loop of beam search."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NO_WORD = -1


@numba.njit(cache=True)
def build_trie(letters: Array, offsets: Array, alphabet: int) -> tuple[Array, Array]:
    """A trie over words.

    Args:
        letters: (sum of lengths,) the words' letters as indices.
        offsets: (words + 1,) where each word begins in `letters`.
        alphabet: how many letters there are.

    Returns:
        children (nodes, alphabet) with 0 for none, and the word that ends at each node or `NO_WORD`.
    """
    children = np.zeros((len(letters) + 1, alphabet), np.int32)
    ends = np.full(len(letters) + 1, NO_WORD, np.int32)
    used = 1
    for word in range(len(offsets) - 1):
        node = 0
        for place in range(offsets[word], offsets[word + 1]):
            following = children[node, letters[place]]
            if following == 0:
                following = used
                children[node, letters[place]] = following
                used += 1
            node = following
        ends[node] = word
    return children[:used].copy(), ends[:used].copy()


@numba.njit(cache=True)
def best_below(trie: Array, words: Array, scores: Array) -> Array:
    """For each place (N,) of a trie the highest of the scores of the words that end there or below."""
    best = np.full(len(trie), -np.inf)
    for place in range(len(trie) - 1, -1, -1):  # children have higher numbers than their parents
        if words[place] != NO_WORD:
            best[place] = scores[words[place]]
        for child in trie[place]:
            if child:
                best[place] = max(best[place], best[child])
    return best
