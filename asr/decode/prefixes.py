"""What beam search keeps, in arrays: prefixes as nodes of a tree, those that are active, and their best alignments."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr.decode.hint_graph import Graph

Array = npt.NDArray[Any]

ROOT = 0
OFF_LEXICON = -1
UNSCORED = -1

NODE = np.dtype([
    ("parent", np.int32),
    ("token", np.int32),
    ("child", np.int32),  # the first, -1 if none
    ("sibling", np.int32),  # the next, -1 if none
    ("trie", np.int32),  # place in the lexicon, OFF_LEXICON if no known word begins like this
    ("state", np.int32),  # language model state before the word that is open
    ("after", np.int32),  # the state after it, UNSCORED until asked for
    ("open", np.int32),  # 1 within a word
    ("letters", np.int32),  # the last letters of the open word, a context of the spelling model
    ("spelled", np.float64),  # what the letters of the open word add if the lexicon lacks it, 0 or less
    ("lm", np.float64),  # scores of the finished words
    ("gain", np.float64),  # what ending the open word adds to them
])  # fmt: skip
"""A prefix."""

BEAM = np.dtype([
    ("node", np.int32),
    ("record_b", np.int32), ("last_b", np.int32),
    ("record_n", np.int32), ("last_n", np.int32),
    ("fresh", np.int32),  # 1 while the record of the alignment that ends in a symbol is still to be written
    ("blank", np.float64), ("symbol", np.float64),  # log sums over alignments that end in a blank, in a symbol
    ("best_b", np.float64), ("best_n", np.float64),  # log-probabilities of the best of each
    ("peak_b", np.float64), ("peak_n", np.float64),  # highest log-posterior of their last symbol
    ("total", np.float64),
])  # fmt: skip
"""An active prefix: two alignment ends, each with its best alignment's last record, last frame and peak."""

RECORD = np.dtype([("before", np.int32), ("start", np.int32), ("end_before", np.int32), ("peak_before", np.float64)])
"""A symbol of a best alignment: where it starts, and where the symbol before it ended."""


class Symbols(NamedTuple):
    """What the symbols do.

    Attributes:
        separates: (V,) whether a symbol ends the word before it.
        pieces: the letters that symbols add, all in one.
        piece_ends: (V + 1,) where each symbol's letters begin in `pieces`.
        trie: (places, letters) the lexicon.
        ahead: (places,) what the open word will score at best as a known word.
        ahead_off: what it will score at best beside its letters if it is spelled.
        spelling: (contexts, letters + 1) what each letter adds to that; see `asr.decode.spelling`.
    """

    separates: Array
    pieces: Array
    piece_ends: Array
    trie: Array
    ahead: Array
    ahead_off: float
    spelling: Array


class State(NamedTuple):
    """One stream's search, changed in place.

    Attributes:
        nodes: (capacity,) `NODE`; room for T x width more than are used.
        records: (capacity,) `RECORD`; likewise.
        beam: (width,) `BEAM`, best first.
        sizes: (4,) used nodes, active prefixes, used records, nodes in `wanted`.
        wanted: (width,) nodes whose `gain` and `after` must be filled in before going on.
        slot: (capacity,) scratch, -1 between frames: the place in the beam of each node.
    """

    nodes: Array
    records: Array
    beam: Array
    sizes: Array
    wanted: Array
    slot: Array


class Hinted(NamedTuple):
    """What phrase hints add to a stream's search.

    Attributes:
        graph: their automaton.
        places: (capacity,) where in it each node is.
        granted: (capacity,) nats that phrases have brought it for good.
    """

    graph: Graph
    places: Array
    granted: Array
