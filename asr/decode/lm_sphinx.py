"""Reads the n-gram models of CMU Sphinx: the binary tries that PocketSphinx 5 ships and its tools write.

The layout is that of ``ngram_model_trie.c``, ``lm_trie.c`` and ``lm_trie_quant.c``: a title, the order, the number of
n-grams of each order, tables of 16-bit codes, the unigrams, the packed higher orders, the words. An n-gram is found
backwards: its last word first, then the word before it.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr.decode.lm_build import Floats, Grams, Ints, NgramModel
from asr.errors import InputError

_TITLE = b"Trie Language Model"
_CODES = 1 << 16
_LOG10_OF_UNIT = float(np.log10(1.0001))  # probabilities are counted in logarithms to this base
_UNIGRAM = np.dtype([("prob", "<f4"), ("backoff", "<f4"), ("next", "<u4")])
_WORDS = {"<unk>": "<unk>", "<UNK>": "<unk>", "<s>": "<s>", "</s>": "</s>"}


def read_sphinx(path: str | Path) -> NgramModel:
    """Reads a binary trie of order 2 or 3.

    Raises:
        InputError: the file cannot be read, is something else, ends early, or has another order.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a language model ({error})") from error
    if not data.startswith(_TITLE):
        raise InputError(f"{path}: is no binary language model of CMU Sphinx (it would begin with {_TITLE.decode()!r})")
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError) as error:
        raise InputError(f"{path}: ends early or is damaged ({error})") from error


def _parse(data: bytes) -> NgramModel:
    order = data[len(_TITLE)]
    if order not in (2, 3):
        raise ValueError(f"order {order}; want 2 or 3")
    at = len(_TITLE) + 1
    counts = struct.unpack_from(f"<{order}I", data, at)
    at += 4 * order + 4  # and a number that once was the kind of quantisation
    tables = np.frombuffer(data, "<f4", (2 * (order - 2) + 1) * _CODES, at).reshape(-1, _CODES)
    at += tables.nbytes
    unigrams = np.frombuffer(data, _UNIGRAM, counts[0] + 1, at)
    at += unigrams.nbytes
    starts = unigrams["next"].astype(np.int64)
    backwards: list[Ints] = [np.arange(counts[0])]
    orders = [(backwards, unigrams["prob"][:-1].astype(float), unigrams["backoff"][:-1].astype(float))]
    for n in range(2, order + 1):
        middle = n < order
        widths = [_bits(counts[0]), *([16, 16, _bits(counts[n])] if middle else [16])]
        # The header may promise some more n-grams than were written; the order below tells where they end. In the
        # middle orders one more record follows, which tells that of the order above.
        number = int(starts[-1])
        word, *codes = _unpack(data, at, widths, number + middle)
        at += ((1 + counts[n - 1]) * sum(widths) + 7) // 8 + 8
        parent = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        backwards = [*(column[parent] for column in backwards), word[:number]]
        prob_table, backoff_table = tables[2 * n - 4], tables[min(2 * n - 3, len(tables) - 1)]
        prob = prob_table[codes[1 if middle else 0][:number]].astype(float)
        backoff = backoff_table[codes[0][:number]].astype(float) if middle else np.zeros(number)
        orders.append((backwards, prob, backoff))
        starts = codes[2] if middle else starts
    (size,) = struct.unpack_from("<I", data, at)
    words = data[at + 4 : at + 4 + size].decode("utf-8").split("\0")[: counts[0]]
    if len(words) != counts[0]:
        raise ValueError(f"{len(words)} words instead of {counts[0]}")
    return _model(words, orders)


def _bits(largest: int) -> int:
    """How many bits hold numbers up to `largest`."""
    return int(largest).bit_length()


def _unpack(data: bytes, at: int, widths: list[int], entries: int) -> list[Ints]:
    """The fields of `entries` records of `widths` bits each, packed from the lowest bit up, from byte `at` on."""
    total = sum(widths)
    size = (entries * total + 7) // 8
    if at + size > len(data):
        raise ValueError(f"{at + size - len(data)} bytes are missing")
    buffer = np.frombuffer(data[at : at + size] + bytes(8), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(buffer, 8)
    begin = np.arange(entries, dtype=np.int64) * total
    fields: list[Ints] = []
    for width in widths:
        eight = np.ascontiguousarray(windows[begin >> 3]).view("<u8")[:, 0]
        fields.append((eight >> (begin & 7).astype(np.uint64) & np.uint64((1 << width) - 1)).astype(np.int64))
        begin += width
    return fields


def _model(words: list[str], orders: list[tuple[list[Ints], Floats, Floats]]) -> NgramModel:
    """Orders n-grams by history and word, with ``<unk>``, ``<s>`` and ``</s>`` as the first words."""
    named = [_WORDS.get(word, word) for word in words]
    vocabulary = list(dict.fromkeys(["<unk>", "<s>", "</s>", *named]))
    index = {word: number for number, word in enumerate(vocabulary)}
    ids: npt.NDArray[np.int64] = np.array([index[word] for word in named], np.int64)
    grams: list[Grams] = []
    keys = np.zeros(1, np.int64)
    for n, (backwards, prob, backoff) in enumerate(orders, start=1):
        columns = [ids[column] for column in reversed(backwards)]
        if n == 1:
            log_prob, log_backoff = np.full(len(vocabulary), -99.0), np.zeros(len(vocabulary))
            log_prob[columns[0]], log_backoff[columns[0]] = prob * _LOG10_OF_UNIT, backoff * _LOG10_OF_UNIT
            grams.append(Grams(np.zeros(len(vocabulary), np.int64), np.arange(len(vocabulary)), log_prob, log_backoff))
            keys = np.arange(len(vocabulary))
            continue
        history = columns[0] if n == 2 else _find(keys, columns[0] * len(vocabulary) + columns[1])
        reachable = history >= 0
        key = history * len(vocabulary) + columns[-1]
        sorted_rows = np.flatnonzero(reachable)[np.argsort(key[reachable], kind="stable")]
        keys = key[sorted_rows]
        grams.append(
            Grams(
                history[sorted_rows],
                columns[-1][sorted_rows],
                prob[sorted_rows] * _LOG10_OF_UNIT,
                backoff[sorted_rows] * _LOG10_OF_UNIT,
            )
        )
    return NgramModel(tuple(vocabulary), tuple(grams))


def _find(keys: Ints, wanted: Ints) -> Ints:
    """Where each wanted key stands among sorted ones, -1 where it does not."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)
