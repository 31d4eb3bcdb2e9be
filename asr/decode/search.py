"""The inner loop of beam search, compiled by numba: CTC prefix search (Hannun et al. 2014) over a prefix tree.

A prefix is a node of a tree. Beside the sum over its alignments, each active prefix carries its best alignment
(Viterbi), as a chain of records that share their beginnings, so that words have times at any moment without a
second pass. Word scores are filled in by the caller: when a word could end and its score is not known, the loop
stops and lists the nodes that want one. Everything advances frame by frame, so chunks cannot matter.

Where `hinted` is None, as most streams have it, numba leaves out all that it stands for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from asr.decode.hint_graph import end_word, follow
from asr.decode.prefixes import BEAM, OFF_LEXICON, ROOT, UNSCORED, Array, Hinted, State, Symbols


class _Cells(NamedTuple):
    """Where a frame leads: the active prefixes themselves first, then those that grow from them.

    Attributes:
        cells: `BEAM`; node -1 for a prefix that has none yet.
        parents: nodes from which a prefix grows.
        tokens: by which symbol.
    """

    cells: Array
    parents: Array
    tokens: Array


@numba.njit(cache=True, inline="always")
def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@numba.njit(cache=True)
def _find_child(nodes: Array, node: int, token: int) -> int:
    child = nodes[node].child
    while child >= 0 and nodes[child].token != token:
        child = nodes[child].sibling
    return int(child)


@numba.njit(cache=True)
def _grown(symbols: Symbols, parent: Any, token: int) -> tuple[float, int, int, float]:
    """Of the prefix that grows from `parent` by one symbol, what follows from the two.

    Returns:
        `lm`, `trie`, `letters` and `spelled` of `NODE`.
    """
    lm, trie, letters, spelled = parent.lm, parent.trie, parent.letters, parent.spelled
    contexts, base = symbols.spelling.shape
    if symbols.separates[token]:
        if parent.open:
            lm += parent.gain
        trie, letters, spelled = 0, contexts - 1, 0.0
    for index in range(symbols.piece_ends[token], symbols.piece_ends[token + 1]):
        letter = symbols.pieces[index]
        spelled += symbols.spelling[letters, letter]
        letters = (letters * base + letter) % contexts
        if trie != OFF_LEXICON:
            trie = symbols.trie[trie, letter]
            if trie == 0:
                trie = OFF_LEXICON
    return lm, trie, letters, spelled


@numba.njit(cache=True)
def _ahead(symbols: Symbols, place: int, spelled: float) -> float:
    """What the open word will score at best: as a known word, or spelled."""
    if place == 0:
        return 0.0
    off = symbols.ahead_off + spelled
    return float(off if place == OFF_LEXICON else max(off, symbols.ahead[place]))


@numba.njit(cache=True)
def _hint(symbols: Symbols, hinted: Hinted, place: int, within: int, token: int) -> tuple[int, float]:
    """Where a symbol leads from a place in the hints, within a word or not, and what is granted on the way."""
    granted = 0.0
    if symbols.separates[token] and within:
        place, granted = end_word(hinted.graph, place)
    for index in range(symbols.piece_ends[token], symbols.piece_ends[token + 1]):
        place, more = follow(hinted.graph, place, symbols.pieces[index])
        granted += more
    return place, granted


@numba.njit(cache=True)
def _ahead_hinted(hinted: Hinted, place: int, ahead: float) -> float:
    """What lies ahead, as far as it is ranked by: `ahead` without hints, a phrase in part, or a word of one."""
    return float(max(ahead + hinted.graph.ahead[place], hinted.graph.ahead_new[place]))


@numba.njit(cache=True)
def _grow(state: State, symbols: Symbols, hinted: Hinted | None, parent: int, token: int) -> int:
    """Adds a node below `parent` and returns it."""
    new = state.sizes[0]
    state.sizes[0] += 1
    before, node = state.nodes[parent], state.nodes[new]
    node.parent = parent
    node.token = token
    node.child = -1
    node.sibling = before.child
    before.child = new
    separates = symbols.separates[token]
    node.open = symbols.piece_ends[token + 1] > symbols.piece_ends[token] or (before.open and not separates)
    node.state = before.after if separates and before.open else before.state
    node.lm, node.trie, node.letters, node.spelled = _grown(symbols, before, token)
    node.after = UNSCORED
    node.gain = 0.0
    if hinted is not None:
        place, granted = _hint(symbols, hinted, hinted.places[parent], before.open, token)
        hinted.places[new] = place
        hinted.granted[new] = hinted.granted[parent] + granted
    return int(new)


@numba.njit(cache=True)
def _clear(cell: Any, node: int) -> None:
    cell.node = node
    cell.record_b = cell.record_n = cell.last_b = cell.last_n = -1
    cell.fresh = 0
    cell.blank = cell.symbol = cell.best_b = cell.best_n = cell.total = -np.inf
    cell.peak_b = cell.peak_n = 0.0


@numba.njit(cache=True)
def _follow(cell: Any, score: float, source: Any, from_blank: bool) -> bool:
    """Lets the best alignment of `cell` that ends in a symbol come from `source`, if that is better."""
    if score <= cell.best_n:
        return False
    cell.best_n = score
    cell.record_n = source.record_b if from_blank else source.record_n
    cell.last_n = source.last_b if from_blank else source.last_n
    cell.peak_n = source.peak_b if from_blank else source.peak_n
    return True


@numba.njit(cache=True)
def _stay(cell: Any, score: float, source: Any, from_blank: bool, frame: int, log_prob: float) -> None:
    """The same, by one more frame of the symbol that is last already."""
    if _follow(cell, score, source, from_blank):
        cell.last_n = frame
        cell.peak_n = max(cell.peak_n, log_prob)
        cell.fresh = 0


@numba.njit(cache=True)
def _keep(log_probs: Array, prune_log: float, kept: Array) -> int:
    """Which symbols take part in a frame; returns their number."""
    count = 0
    top = np.argmax(log_probs)
    for token in range(len(log_probs)):
        if token == top or (log_probs[token] >= prune_log and log_probs[token] > -np.inf):
            kept[count] = token
            count += 1
    return count


@numba.njit(cache=True)
def _list_wanted(state: State) -> int:
    """Lists the nodes whose word could end but has no score; returns their number."""
    state.sizes[3] = 0
    for index in range(state.sizes[1]):
        node = state.beam[index].node
        if state.nodes[node].open and state.nodes[node].after == UNSCORED:
            state.wanted[state.sizes[3]] = node
            state.sizes[3] += 1
    return int(state.sizes[3])


@numba.njit(cache=True)
def _spread(state: State, symbols: Symbols, to: _Cells, log_probs: Array, kept: Array, frame: int) -> int:
    """Fills `to` with where the active prefixes go by the symbols in `kept`; returns how many cells there are."""
    active = state.sizes[1]
    for index in range(active):
        _clear(to.cells[index], state.beam[index].node)
        state.slot[state.beam[index].node] = index
    count = active
    for index in range(active):
        source, stay = state.beam[index], to.cells[index]
        here = state.nodes[source.node]
        both = _log_add(source.blank, source.symbol)
        blank_better = source.best_b >= source.best_n
        best = source.best_b if blank_better else source.best_n
        for token in kept:
            log_prob = float(log_probs[token])
            if token == 0:
                stay.blank = both + log_prob
                stay.best_b = best + log_prob
                stay.record_b = source.record_b if blank_better else source.record_n
                stay.last_b = source.last_b if blank_better else source.last_n
                stay.peak_b = source.peak_b if blank_better else source.peak_n
                continue
            if (
                not here.open
                and symbols.separates[token]
                and symbols.piece_ends[token] == symbols.piece_ends[token + 1]
            ):
                # A second bare separator changes nothing, whatever came between.
                stay.symbol = _log_add(stay.symbol, both + log_prob)
                _stay(stay, best + log_prob, source, blank_better, frame, log_prob)
                continue
            grows, grows_best, from_blank = both, best, blank_better
            if token == here.token:
                # A repeat merges; only a blank between makes it a second symbol.
                stay.symbol = _log_add(stay.symbol, source.symbol + log_prob)
                _stay(stay, source.best_n + log_prob, source, False, frame, log_prob)
                grows, grows_best, from_blank = source.blank, source.best_b, True
            if grows == -np.inf:
                continue
            child = _find_child(state.nodes, source.node, token)
            place = state.slot[child] if child >= 0 else -1
            if place < 0:
                place = count
                _clear(to.cells[place], child)
                to.parents[place], to.tokens[place] = source.node, token
                count += 1
            cell = to.cells[place]
            cell.symbol = _log_add(cell.symbol, grows + log_prob)
            if _follow(cell, grows_best + log_prob, source, from_blank):
                cell.fresh = 1
    for index in range(active):
        state.slot[state.beam[index].node] = -1
    return int(count)


@numba.njit(cache=True)
def _survive(
    state: State, symbols: Symbols, hinted: Hinted | None, to: _Cells, count: int, log_probs: Array, frame: int
) -> None:
    """Makes the best of `count` cells the beam, best first, equals in their order; new ones become nodes."""
    active = state.sizes[1]
    ranks = np.empty(count, np.float64)
    for place in range(count):
        cell = to.cells[place]
        if place < active:
            node = state.nodes[cell.node]
            lm, trie, spelled = node.lm, node.trie, node.spelled
        else:
            lm, trie, _, spelled = _grown(symbols, state.nodes[to.parents[place]], to.tokens[place])
        ahead = _ahead(symbols, trie, spelled)
        if hinted is not None:
            if place < active:
                hint, granted = hinted.places[cell.node], 0.0
                lm += hinted.granted[cell.node]
            else:
                before = to.parents[place]
                hint, granted = _hint(
                    symbols, hinted, hinted.places[before], state.nodes[before].open, to.tokens[place]
                )
                lm += hinted.granted[before] + granted
            ahead = _ahead_hinted(hinted, hint, ahead)
        cell.total = _log_add(cell.blank, cell.symbol) + lm + ahead
        ranks[place] = -cell.total
    order = np.argsort(ranks, kind="mergesort")[: len(state.beam)]
    survivors = 0
    for place in order:
        cell = to.cells[place]
        if cell.total == -np.inf:
            break
        if cell.node < 0:
            cell.node = _grow(state, symbols, hinted, to.parents[place], to.tokens[place])
        if cell.fresh:
            record = state.records[state.sizes[2]]
            record.before = cell.record_n
            record.start = frame
            record.end_before = cell.last_n
            record.peak_before = cell.peak_n
            cell.record_n = state.sizes[2]
            cell.last_n = frame
            cell.peak_n = log_probs[state.nodes[cell.node].token]
            cell.fresh = 0
            state.sizes[2] += 1
        state.beam[survivors] = cell
        survivors += 1
    state.sizes[1] = survivors


@numba.njit(cache=True, nogil=True)
def advance(
    log_probs: Array,
    first_frame: int,
    state: State,
    symbols: Symbols,
    hinted: Hinted | None,
    prune_log: float,
    scored: bool,
) -> int:
    """Advances the beam over frames until a word score is wanted.

    Args:
        log_probs: (T, V) natural logs.
        first_frame: the number of the first of them in the stream.
        state: changed in place.
        symbols: what they do.
        hinted: phrase hints, changed in place; None for none.
        prune_log: symbols below are skipped.
        scored: whether words have scores at all.

    Returns:
        How many frames were taken; fewer than T only if `state.wanted` is not empty.
    """
    vocabulary = log_probs.shape[1]
    most = len(state.beam) * (vocabulary + 1)
    to = _Cells(np.empty(most, BEAM), np.empty(most, np.int64), np.empty(most, np.int64))
    kept = np.empty(vocabulary, np.int64)
    for row in range(len(log_probs)):
        taking_part = kept[: _keep(log_probs[row], prune_log, kept)]
        if scored and symbols.separates[taking_part].any() and _list_wanted(state):
            return row
        count = _spread(state, symbols, to, log_probs[row], taking_part, first_frame + row)
        _survive(state, symbols, hinted, to, count, log_probs[row], first_frame + row)
    state.sizes[3] = 0
    return len(log_probs)


@numba.njit(cache=True, nogil=True)
def cut_back(nodes: Array, kept: int, used: int) -> None:
    """Unlinks the nodes that `advance` added last, so that only the first `kept` of `used` are there."""
    for node in range(used - 1, kept - 1, -1):
        nodes[nodes[node].parent].child = nodes[node].sibling


@numba.njit(cache=True, nogil=True)
def trace(
    nodes: Array, records: Array, node: int, record: int, last: int, peak: float
) -> tuple[Array, Array, Array, Array, Array]:
    """The symbols of a prefix with the first and last frames and the peaks of its best alignment, and its records.

    Returns:
        Five arrays of shape (L,).
    """
    length = 0
    walk = node
    while walk != ROOT:
        length += 1
        walk = nodes[walk].parent
    ids, starts, ends = np.empty(length, np.int32), np.empty(length, np.int32), np.empty(length, np.int32)
    peaks, numbers = np.empty(length, np.float32), np.empty(length, np.int32)
    for place in range(length - 1, -1, -1):
        ids[place] = nodes[node].token
        starts[place] = records[record].start
        ends[place] = last
        peaks[place] = peak
        numbers[place] = record
        last, peak = records[record].end_before, records[record].peak_before
        node, record = nodes[node].parent, records[record].before
    return ids, starts, ends, peaks, numbers


@numba.njit(cache=True, nogil=True)
def agreement(state: State) -> tuple[Array, Array]:
    """How far the active prefixes agree with the best one.

    Returns:
        (L,) the best one's symbols; (L,) for each the share of all probability, what lies ahead included, in prefixes
        that begin with it and those before it.
    """
    nodes, beam, depth = state.nodes, state.beam, state.slot
    length, node = 0, beam[0].node
    while node != ROOT:
        length += 1
        node = nodes[node].parent
    ids, shares = np.empty(length + 1, np.int32), np.zeros(length + 1)
    node = beam[0].node
    for place in range(length, -1, -1):
        depth[node] = place
        ids[place] = nodes[node].token
        node = nodes[node].parent
    for index in range(state.sizes[1]):
        node = beam[index].node
        while depth[node] < 0:
            node = nodes[node].parent
        shares[depth[node]] += np.exp(beam[index].total - beam[0].total)
    node = beam[0].node
    for place in range(length, -1, -1):
        depth[node] = -1
        node = nodes[node].parent
        if place < length:
            shares[place] += shares[place + 1]
    return ids[1:], shares[1:] / shares[0]
