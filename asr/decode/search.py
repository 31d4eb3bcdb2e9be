"""The inner loop of beam search, compiled by numba: CTC prefix search (Hannun et al. 2014) over a prefix tree.

A prefix is a node of a tree. Beside the sum over its alignments, each active prefix carries its best alignment
(Viterbi), as a chain of records that share their beginnings, so that words have times at any moment without a
second pass. Word scores are filled in by the caller: when a word could end and its score is not known, the loop
stops and lists the nodes that want one. Everything advances frame by frame, so chunks cannot matter.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROOT = 0
OFF_LEXICON = -1
UNSCORED = -1
NO_WORD = -1

NODE = np.dtype([
    ("parent", np.int32),
    ("token", np.int32),
    ("child", np.int32),  # the first, -1 if none
    ("sibling", np.int32),  # the next, -1 if none
    ("trie", np.int32),  # place in the lexicon, OFF_LEXICON if no known word begins like this
    ("state", np.int32),  # language model state before the word that is open
    ("after", np.int32),  # the state after it, UNSCORED until asked for
    ("open", np.int32),  # 1 within a word
    ("lm", np.float64),  # scores and costs so far
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


@numba.njit(cache=True)
def build_trie(letters: Array, offsets: Array, alphabet: int) -> tuple[Array, Array]:
    """A trie over words.

    Args:
        letters: (sum of lengths,) the words' letters as indices below `alphabet`.
        offsets: (words + 1,) where each word begins in `letters`.

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


@numba.njit(cache=True, inline="always")
def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@numba.njit(cache=True)
def _find_child(nodes: Array, node: int, token: int) -> int:
    child = nodes[node].child
    while child >= 0 and nodes[child].token != token:
        child = nodes[child].sibling
    return child


@numba.njit(cache=True)
def _walk(trie: Array, place: int, pieces: Array, ends: Array, token: int) -> int:
    """Where in the lexicon the letters of `token` lead from `place`."""
    for index in range(ends[token], ends[token + 1]):
        if place == OFF_LEXICON or pieces[index] < 0 or trie[place, pieces[index]] == 0:
            return OFF_LEXICON
        place = trie[place, pieces[index]]
    return place


@numba.njit(cache=True)
def _extend_best(cell: Any, score: float, source_blank: bool, source: Any, frame: int, log_prob: float) -> None:
    """Lets the best alignment of `cell` be that of `source` and one new symbol, if that is better."""
    if score > cell.best_n:
        cell.best_n = score
        cell.record_n = source.record_b if source_blank else source.record_n
        cell.last_n = source.last_b if source_blank else source.last_n
        cell.peak_n = source.peak_b if source_blank else source.peak_n
        cell.fresh = 1


@numba.njit(cache=True)
def _clear(cell: Any, node: int) -> None:
    cell.node = node
    cell.record_b = cell.record_n = cell.last_b = cell.last_n = -1
    cell.fresh = 0
    cell.blank = cell.symbol = cell.best_b = cell.best_n = cell.total = -np.inf
    cell.peak_b = cell.peak_n = 0.0


@numba.njit(cache=True, nogil=True)
def advance(
    log_probs: Array,
    first_frame: int,
    nodes: Array,
    beam: Array,
    records: Array,
    sizes: Array,
    wanted: Array,
    slot: Array,
    separates: Array,
    pieces: Array,
    piece_ends: Array,
    trie: Array,
    prune_log: float,
    unknown_cost: float,
    scored: bool,
) -> int:
    """Advances the beam over frames until a word score is wanted.

    Args:
        log_probs: (T, V) natural logs.
        first_frame: the number of the first of them in the stream.
        nodes: (capacity,) `NODE`; room for beam x T more.
        beam: (width,) `BEAM`, best first.
        records: (capacity,) `RECORD`; room for beam x T more.
        sizes: (4,) in and out: nodes, active prefixes, records, nodes in `wanted`.
        wanted: (width,) out: nodes whose `gain` and `after` must be filled in before going on.
        slot: (capacity,) scratch, all -1, the place in the beam of each node.
        separates: (V,) whether the symbol ends a word.
        pieces: letters that symbols add, all in one, -1 for a letter the lexicon does not have.
        piece_ends: (V + 1,) where each symbol's letters begin in `pieces`.
        trie: (places, letters) the lexicon.
        prune_log: symbols below are skipped.
        unknown_cost: taken off when a word leaves the lexicon.
        scored: whether words have scores at all.

    Returns:
        How many frames were taken; fewer than T only if `wanted` is not empty.
    """
    width = len(beam)
    vocabulary = log_probs.shape[1]
    kept = np.empty(vocabulary, np.int64)
    cells = np.empty(width * (vocabulary + 1), BEAM)
    sources = np.empty(width * (vocabulary + 1), np.int64)
    symbols = np.empty(width * (vocabulary + 1), np.int64)
    totals = np.empty(width * (vocabulary + 1), np.float64)
    for row in range(len(log_probs)):
        frame = first_frame + row
        active = sizes[1]
        # Which symbols take part.
        top = np.argmax(log_probs[row])
        n_kept = 0
        may_separate = False
        for token in range(vocabulary):
            if token == top or (log_probs[row, token] >= prune_log and log_probs[row, token] > -np.inf):
                kept[n_kept] = token
                n_kept += 1
                may_separate |= separates[token]
        if scored and may_separate:
            sizes[3] = 0
            for index in range(active):
                node = beam[index].node
                if nodes[node].open and nodes[node].after == UNSCORED:
                    wanted[sizes[3]] = node
                    sizes[3] += 1
            if sizes[3]:
                return row
        # Each active prefix stays (cells 0 .. active - 1) or grows (the cells after them).
        for index in range(active):
            _clear(cells[index], beam[index].node)
            slot[beam[index].node] = index
        n_cells = active
        for index in range(active):
            source = beam[index]
            here = nodes[source.node]
            stay = cells[index]
            both = _log_add(source.blank, source.symbol)
            blank_better = source.best_b >= source.best_n
            best = source.best_b if blank_better else source.best_n
            for k in range(n_kept):
                token = kept[k]
                log_prob = float(log_probs[row, token])
                bare = separates[token] and piece_ends[token] == piece_ends[token + 1]
                if token == 0:
                    stay.blank = both + log_prob
                    stay.best_b = best + log_prob
                    stay.record_b = source.record_b if blank_better else source.record_n
                    stay.last_b = source.last_b if blank_better else source.last_n
                    stay.peak_b = source.peak_b if blank_better else source.peak_n
                    continue
                grows, grows_best, from_blank = both, best, blank_better
                if bare and not here.open:
                    # A second separator changes nothing: the prefix stays, whatever came between.
                    stay.symbol = _log_add(stay.symbol, both + log_prob)
                    if best + log_prob > stay.best_n:
                        stay.best_n = best + log_prob
                        stay.record_n = source.record_b if blank_better else source.record_n
                        stay.last_n = frame
                        stay.peak_n = max(source.peak_b if blank_better else source.peak_n, log_prob)
                        stay.fresh = 0
                    continue
                if token == here.token and source.node != ROOT:
                    stay.symbol = _log_add(stay.symbol, source.symbol + log_prob)
                    if source.best_n + log_prob > stay.best_n:
                        stay.best_n = source.best_n + log_prob
                        stay.record_n = source.record_n
                        stay.last_n = frame
                        stay.peak_n = max(source.peak_n, log_prob)
                        stay.fresh = 0
                    grows, grows_best, from_blank = source.blank, source.best_b, True
                if grows == -np.inf:
                    continue
                child = _find_child(nodes, source.node, token)
                if child >= 0 and slot[child] >= 0:
                    cell = cells[slot[child]]
                else:
                    cell = cells[n_cells]
                    _clear(cell, child)
                    sources[n_cells] = index
                    symbols[n_cells] = token
                    n_cells += 1
                cell.symbol = _log_add(cell.symbol, grows + log_prob)
                _extend_best(cell, grows_best + log_prob, from_blank, source, frame, log_prob)
        # Total scores, and the best cells in a stable order.
        for index in range(n_cells):
            cell = cells[index]
            acoustic = _log_add(cell.blank, cell.symbol)
            if index < active:
                cell.total = acoustic + nodes[cell.node].lm
            else:
                cell.total = acoustic + _grown_lm(
                    nodes[beam[sources[index]].node], symbols[index], separates, pieces, piece_ends, trie, unknown_cost, scored
                )
            totals[index] = -cell.total
        for index in range(active):
            slot[beam[index].node] = -1
        order = np.argsort(totals[:n_cells], kind="mergesort")
        survivors = 0
        while survivors < min(width, n_cells) and totals[order[survivors]] < np.inf:
            survivors += 1
        # Prefixes that were born and live on become nodes; the beam is overwritten only after all parents were read.
        for index in range(survivors):
            place = order[index]
            cell = cells[place]
            if place >= active and cell.node < 0:
                cell.node = _grow(
                    nodes, sizes, beam[sources[place]].node, symbols[place], separates, pieces, piece_ends, trie, unknown_cost, scored
                )
            if cell.fresh:
                record = records[sizes[2]]
                record.before = cell.record_n
                record.start = frame
                record.end_before = cell.last_n
                record.peak_before = cell.peak_n
                cell.record_n = sizes[2]
                cell.last_n = frame
                cell.peak_n = log_probs[row, nodes[cell.node].token]
                cell.fresh = 0
                sizes[2] += 1
        for index in range(survivors):
            beam[index] = cells[order[index]]
        sizes[1] = survivors
    sizes[3] = 0
    return len(log_probs)


@numba.njit(cache=True)
def _grown_lm(
    parent: Any, token: int, separates: Array, pieces: Array, piece_ends: Array, trie: Array, unknown_cost: float, scored: bool
) -> float:
    """The language score of a prefix that grows by one symbol."""
    if not scored:
        return 0.0
    lm = parent.lm
    place = parent.trie
    if separates[token]:
        place = 0
        if parent.open:
            lm += parent.gain
    if place != OFF_LEXICON and _walk(trie, place, pieces, piece_ends, token) == OFF_LEXICON:
        lm -= unknown_cost
    return lm


@numba.njit(cache=True)
def _grow(
    nodes: Array,
    sizes: Array,
    parent: int,
    token: int,
    separates: Array,
    pieces: Array,
    piece_ends: Array,
    trie: Array,
    unknown_cost: float,
    scored: bool,
) -> int:
    """Adds a node below `parent` and returns it."""
    before = nodes[parent]
    new = sizes[0]
    sizes[0] += 1
    node = nodes[new]
    node.parent = parent
    node.token = token
    node.child = -1
    node.sibling = before.child
    before.child = new
    ends_word = separates[token]
    node.open = piece_ends[token + 1] > piece_ends[token] or (before.open and not ends_word)
    node.state = before.after if ends_word and before.open else before.state
    node.trie = _walk(trie, 0 if ends_word else before.trie, pieces, piece_ends, token) if scored else 0
    node.after = UNSCORED
    node.gain = 0.0
    node.lm = _grown_lm(before, token, separates, pieces, piece_ends, trie, unknown_cost, scored)
    return new


@numba.njit(cache=True)
def trace(nodes: Array, records: Array, node: int, record: int, last: int, peak: float) -> tuple[Array, Array, Array, Array]:
    """The symbols of a prefix with the first and last frames and the peaks of its best alignment, each (L,)."""
    length = 0
    walk = node
    while walk != ROOT:
        length += 1
        walk = nodes[walk].parent
    ids, starts, ends = np.empty(length, np.int32), np.empty(length, np.int32), np.empty(length, np.int32)
    peaks = np.empty(length, np.float32)
    for place in range(length - 1, -1, -1):
        ids[place] = nodes[node].token
        starts[place] = records[record].start
        ends[place] = last
        peaks[place] = peak
        last, peak = records[record].end_before, records[record].peak_before
        node, record = nodes[node].parent, records[record].before
    return ids, starts, ends, peaks


@numba.njit(cache=True)
def spell(nodes: Array, node: int) -> Array:
    """The symbols of a prefix, (L,)."""
    length = 0
    walk = node
    while walk != ROOT:
        length += 1
        walk = nodes[walk].parent
    ids = np.empty(length, np.int32)
    for place in range(length - 1, -1, -1):
        ids[place] = nodes[node].token
        node = nodes[node].parent
    return ids
