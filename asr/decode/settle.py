"""Keeps a stream's search small for as long as it lasts, compiled by numba.

Prefixes that no active one grows from, and alignments that none of them rests on, can never matter again. Nor can the
beginning that all of them share, once they share its alignment too: its symbols and times are settled, and the root of
the tree moves up to its end. Both leave every result what it is, to the bit, and cost a constant for each frame.

Near ties can last: two readings that differ in one early word keep their distance for ever, and all that lies between
is kept for them. So readings that differ from the best one too many symbols back are dropped. That alone can change a
result, of streams that are longer, and makes the bound a promise.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from asr.decode.prefixes import ROOT, UNSCORED, Array, Hinted, State

_NONE = -1


class Settled(NamedTuple):
    """What `compact` took off the beginning of all prefixes, L symbols, and what it left of language model states.

    Attributes:
        ids, starts, ends: (L,) int32: symbols, their first and last frames.
        peaks: (L,) float32: their highest log-posteriors.
        states: (S,) the language model's states that are still referred to, now numbered in this order.
    """

    ids: Array
    starts: Array
    ends: Array
    peaks: Array
    states: Array


@numba.njit(cache=True, nogil=True)
def drop_distant(state: State, symbols: int) -> int:
    """Drops active prefixes that differ from the best one more than so many symbols back.

    Returns:
        How many symbols then may be settled whatever their alignments.
    """
    nodes, beam = state.nodes, state.beam
    depth = _depth(nodes, beam[0].node) - symbols
    if depth <= 0:
        return 0
    shared = _above(nodes, beam[0].node, symbols)
    kept = 0
    for index in range(state.sizes[1]):
        behind = _depth(nodes, beam[index].node) - depth
        if behind >= 0 and _above(nodes, beam[index].node, behind) == shared:
            beam[kept] = beam[index]
            kept += 1
    state.sizes[1] = kept
    return int(depth - 1)


@numba.njit(cache=True, nogil=True)
def compact(state: State, hinted: Hinted | None, symbols: int, states: int) -> Settled:
    """Settles what can be settled and closes the gaps that dead prefixes and alignments leave.

    Args:
        state: changed in place; not between two frames that `advance` has still to take.
        hinted: phrase hints, changed in place; None for none.
        symbols: so many at least are settled, with the times that the best prefix gives them.
        states: how many states of the language model there are.
    """
    symbols = max(symbols, _shared_symbols(state))
    settled = _take_off(state, symbols)
    _compact_nodes(state, hinted)
    _compact_records(state)
    kept = _compact_states(state.nodes[: state.sizes[0]], states)
    return Settled(settled.ids, settled.starts, settled.ends, settled.peaks, kept)


@numba.njit(cache=True, nogil=True)
def _depth(nodes: Array, node: int) -> int:
    depth = 0
    while node != ROOT:
        depth += 1
        node = nodes[node].parent
    return depth


@numba.njit(cache=True, nogil=True)
def _above(nodes: Array, node: int, steps: int) -> int:
    for _ in range(steps):
        node = nodes[node].parent
    return int(node)


@numba.njit(cache=True, nogil=True)
def _before(records: Array, record: int, steps: int) -> int:
    for _ in range(steps):
        record = records[record].before
    return int(record)


@numba.njit(cache=True, nogil=True)
def _shared_symbols(state: State) -> int:
    """How many symbols all active prefixes begin with, aligned alike, and with symbols behind them."""
    records, beam, used = state.records, state.beam, state.sizes[2]
    branches, onward, ends = np.zeros(used, np.int32), np.empty(used, np.int32), np.zeros(used, np.bool_)
    first = _NONE
    for index in range(state.sizes[1]):
        if beam[index].node == ROOT:
            return 0
        for end in (beam[index].record_b, beam[index].record_n):
            if end == _NONE or ends[end]:
                continue
            record = int(end)
            seen = branches[record] > 0
            ends[record] = True
            while not seen:
                before = records[record].before
                if before == _NONE:
                    if first != _NONE and first != record:  # noqa: PLR1714 (numba knows no other way)
                        return 0
                    first = record
                    break
                seen = branches[before] > 0 or ends[before]
                branches[before] += 1
                onward[before] = record
                record = before
    shared = 0
    while not ends[first] and branches[first] == 1:
        first = onward[first]
        shared += 1
    return shared


@numba.njit(cache=True, nogil=True)
def _take_off(state: State, symbols: int) -> Settled:
    """Ends all prefixes and alignments behind so many symbols of the best one, which are returned."""
    nodes, records, best = state.nodes, state.records, state.beam[0]
    ids, starts, ends = np.empty(symbols, np.int32), np.empty(symbols, np.int32), np.empty(symbols, np.int32)
    peaks = np.empty(symbols, np.float32)
    settled = Settled(ids, starts, ends, peaks, np.empty(0, np.int64))
    if symbols == 0:
        return settled
    behind = _depth(nodes, best.node) - symbols
    root = node = _above(nodes, best.node, behind)
    record = _before(records, best.record_b if best.best_b >= best.best_n else best.record_n, behind - 1)
    for place in range(symbols - 1, -1, -1):
        ids[place], node = nodes[node].token, nodes[node].parent
        ends[place], peaks[place] = records[record].end_before, records[record].peak_before
        record = records[record].before
        starts[place] = records[record].start
    for index in range(state.sizes[1]):
        cell = state.beam[index]
        behind = _depth(nodes, cell.node) - symbols - 1
        for end in (cell.record_b, cell.record_n):
            if end != _NONE:
                records[_before(records, end, behind)].before = _NONE
    nodes[root].parent = _NONE
    return settled


@numba.njit(cache=True, nogil=True)
def _compact_nodes(state: State, hinted: Hinted | None) -> None:
    """Keeps the nodes above active prefixes, in their order, so that parents stay in front of their children."""
    nodes, beam, place = state.nodes, state.beam, state.slot
    for index in range(state.sizes[1]):
        node = beam[index].node
        while node != _NONE and place[node] < 0:
            place[node] = 0
            node = nodes[node].parent
    used = 0
    for node in range(state.sizes[0]):
        if place[node] < 0:
            continue
        place[node] = used
        nodes[used] = nodes[node]
        kept = nodes[used]
        kept.child = kept.sibling = _NONE
        if kept.parent != _NONE:
            kept.parent = place[kept.parent]
            above = nodes[kept.parent]
            kept.sibling = above.child
            above.child = used
        if hinted is not None:
            hinted.places[used], hinted.granted[used] = hinted.places[node], hinted.granted[node]
        used += 1
    for index in range(state.sizes[1]):
        beam[index].node = place[beam[index].node]
    place[: state.sizes[0]] = _NONE
    state.sizes[0] = used


@numba.njit(cache=True, nogil=True)
def _compact_records(state: State) -> None:
    """The same for the alignments of active prefixes."""
    records, beam = state.records, state.beam
    place = np.full(state.sizes[2], _NONE, np.int32)
    for index in range(state.sizes[1]):
        for end in (beam[index].record_b, beam[index].record_n):
            record = int(end)
            while record != _NONE and place[record] < 0:
                place[record] = 0
                record = records[record].before
    used = 0
    for record in range(state.sizes[2]):
        if place[record] < 0:
            continue
        place[record] = used
        records[used] = records[record]
        if records[used].before != _NONE:
            records[used].before = place[records[used].before]
        used += 1
    for index in range(state.sizes[1]):
        cell = beam[index]
        cell.record_b = place[cell.record_b] if cell.record_b != _NONE else _NONE
        cell.record_n = place[cell.record_n] if cell.record_n != _NONE else _NONE
    state.sizes[2] = used


@numba.njit(cache=True, nogil=True)
def _compact_states(nodes: Array, states: int) -> Array:
    """Numbers the language model's states anew that nodes refer to; which they are."""
    place = np.full(states, _NONE, np.int64)
    for index in range(len(nodes)):
        for number in (nodes[index].state, nodes[index].after):
            if number != UNSCORED and number < states:
                place[number] = 0
    kept = np.flatnonzero(place == 0)
    for new, number in enumerate(kept):
        place[number] = new
    for index in range(len(nodes)):
        node = nodes[index]
        if states:
            node.state = place[node.state]
        if node.after != UNSCORED:
            node.after = place[node.after]
    return kept
