"""Mixes two n-gram models into one, and prunes it: a large general model beside a small one of one's own texts.

The mixture is SRILM's (Stolcke 2002, ``ngram -mix-lm``): every n-gram that either model holds gets the weighted mean of
the probabilities that the two give it, and the back-off weights are set anew so that each history's probabilities add
up to one. Pruning is Stolcke's (1998): an n-gram goes if the model without it is less than a threshold worse, as the
relative growth of the perplexity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.decode.lm_build import BOS, EOS, Floats, Grams, Ints, NgramModel
from asr.errors import ConfigError

Bools = npt.NDArray[np.bool_]

_TINY = 1e-12  # below it a mass is what rounding leaves
_NEVER = -99.0


@dataclass(frozen=True, slots=True)
class _Index:
    """A model in which n-grams are found by the ids of a vocabulary that may be larger than its own.

    Attributes:
        keys: of each order, (N,) rising: history x `size` + word, in the model's own order of n-grams.
        log_prob, log_backoff: of each order, (N,), natural logarithms.
        words: (size,) the model's id of each word of the vocabulary, -1 where it does not know it.
        size: of the model's own vocabulary.
    """

    keys: list[Ints]
    log_prob: list[Floats]
    log_backoff: list[Floats]
    words: Ints
    size: int

    @classmethod
    def of(cls, model: NgramModel, vocabulary: tuple[str, ...]) -> _Index:
        size = len(model.words)
        own = {word: number for number, word in enumerate(model.words)}
        keys = [np.arange(size), *(grams.history * size + grams.word for grams in model.orders[1:])]
        log_10 = np.log(10.0)
        return cls(
            keys,
            [grams.log10_prob * log_10 for grams in model.orders],
            [grams.log10_backoff * log_10 for grams in model.orders],
            np.array([own.get(word, -1) for word in vocabulary], np.int64),
            size,
        )

    def find(self, grams: Ints) -> Ints:
        """Where each of (N, n) n-grams stands among those of its order, -1 where it does not."""
        words = self.words[grams]
        at = words[:, 0]
        for column in range(1, grams.shape[1]):
            if column >= len(self.keys):
                return np.full(len(grams), -1, np.int64)
            keys = self.keys[column]
            wanted = np.where((at < 0) | (words[:, column] < 0), -1, at * self.size + words[:, column])
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            at = np.where(keys[place] == wanted, place, -1)
        return at

    def log_probs(self, grams: Ints) -> Floats:
        """Of the last word of each of (N, n) n-grams after the words before it; `_NEVER` for an unknown word."""
        order = grams.shape[1]
        at = self.find(grams)
        known = at >= 0
        result = np.full(len(grams), _NEVER)
        if order <= len(self.log_prob):
            result[known] = self.log_prob[order - 1][at[known]]
        rest = np.flatnonzero(~known)
        if order > 1 and len(rest):
            result[rest] = self.log_backoffs(grams[rest, :-1]) + self.log_probs(grams[rest, 1:])
        return result

    def log_backoffs(self, histories: Ints) -> Floats:
        """Of each of (N, n) histories, 0 for one that the model does not hold."""
        at = self.find(histories)
        if histories.shape[1] > len(self.log_backoff):
            return np.zeros(len(histories))
        return np.where(at >= 0, self.log_backoff[histories.shape[1] - 1][at], 0.0)


def mix(first: NgramModel, second: NgramModel, weight: float) -> NgramModel:
    """One model of the order of the higher one, with the words of both.

    Args:
        first: a model whose histories are n-grams of it, as in any ARPA file.
        second: another.
        weight: of the first, above 0 and below 1.

    Raises:
        ConfigError: a weight out of bounds.
    """
    if not 0 < weight < 1:
        raise ConfigError(f"language model: a mixture weight of {weight:g}; want one above 0 and below 1")
    vocabulary = tuple(dict.fromkeys([*first.words, *second.words]))
    parts = [_Index.of(first, vocabulary), _Index.of(second, vocabulary)]
    number = {word: at for at, word in enumerate(vocabulary)}
    spelled = [_spelled(model, np.array([number[word] for word in model.words])) for model in (first, second)]
    sets: list[Ints] = []
    for n in range(1, max(len(first.orders), len(second.orders)) + 1):
        held = [grams[n - 1] for grams in spelled if len(grams) >= n]
        sets.append(_union(held, len(vocabulary)))
    probabilities = [
        weight * np.exp(parts[0].log_probs(grams)) + (1 - weight) * np.exp(parts[1].log_probs(grams)) for grams in sets
    ]
    return _model(vocabulary, sets, probabilities)


def _spelled(model: NgramModel, ids: Ints) -> list[Ints]:
    """Of each order, the (N, n) words of its n-grams, as `ids`."""
    rows: list[Ints] = []
    for grams in model.orders:
        last = ids[grams.word][:, None]
        rows.append(np.concatenate([rows[-1][grams.history], last], axis=1) if rows else last)
    return rows


def _union(held: list[Ints], words: int) -> Ints:
    """The distinct rows of (N, n) n-grams, sorted."""
    rows = np.concatenate(held)
    halves = rows.shape[1] // 2 + rows.shape[1] % 2
    packed = [np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)]
    for column in range(rows.shape[1]):  # three words of 21 bits fit into one number
        half = 0 if column < halves else 1
        packed[half] = packed[half] * words + rows[:, column]
    order = np.lexsort((packed[1], packed[0]))
    first, second = packed[0][order], packed[1][order]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    return rows[order][new]


def _model(vocabulary: tuple[str, ...], sets: list[Ints], probabilities: list[Floats]) -> NgramModel:
    """The back-off model that gives sorted n-grams of each order, their histories among them, these probabilities."""
    index = _Index([], [], [], np.arange(len(vocabulary)), len(vocabulary))
    orders: list[Grams] = []
    for n, (grams, probability) in enumerate(zip(sets, probabilities, strict=True), start=1):
        history = np.zeros(len(grams), np.int64) if n == 1 else index.find(grams[:, :-1])
        if n > 1:
            lower = np.exp(index.log_probs(grams[:, 1:]))
            backoff = _backoff(history, probability, lower, len(index.keys[-1]))
            index.log_backoff[-1] = np.log(backoff)
            orders[-1] = Grams(orders[-1].history, orders[-1].word, orders[-1].log10_prob, np.log10(backoff))
        log_prob = np.log(np.maximum(probability, np.exp(_NEVER)))
        index.keys.append(history * len(vocabulary) + grams[:, -1])
        index.log_prob.append(log_prob)
        index.log_backoff.append(np.zeros(len(grams)))
        orders.append(Grams(history, grams[:, -1], log_prob / np.log(10.0), np.zeros(len(grams))))
    orders[0].log10_prob[BOS] = 0.0
    return NgramModel(vocabulary, tuple(orders))


def _backoff(history: Ints, probability: Floats, lower: Floats, histories: int) -> Floats:
    """What each history's words that it does not hold get of what the order below gives them; 1 where it holds none."""
    left = 1 - np.bincount(history, probability, minlength=histories)
    below = 1 - np.bincount(history, lower, minlength=histories)
    return np.where((left > _TINY) & (below > _TINY), np.maximum(left, _TINY) / np.maximum(below, _TINY), 1.0)


def restrict(model: NgramModel, keep: Bools) -> NgramModel:
    """The model without some of its words and all n-grams that hold one; what they had goes to no other word.

    Args:
        model: whose histories are n-grams of it.
        keep: (V,) which words stay; ``<unk>``, ``<s>`` and ``</s>`` do in any case.
    """
    keep = keep | (np.arange(len(model.words)) <= EOS)
    ids = np.cumsum(keep) - 1
    orders: list[Grams] = []
    stay = keep
    places = np.zeros(1, np.int64)
    for n, grams in enumerate(model.orders, start=1):
        here = keep[grams.word] if n == 1 else keep[grams.word] & stay[grams.history]
        history = np.zeros(here.sum(), np.int64) if n == 1 else places[grams.history[here]]
        orders.append(Grams(history, ids[grams.word[here]], grams.log10_prob[here], grams.log10_backoff[here]))
        stay, places = here, np.cumsum(here) - 1
    return NgramModel(tuple(word for word, stays in zip(model.words, keep, strict=True) if stays), tuple(orders))


def prune(model: NgramModel, threshold: float) -> NgramModel:
    """The model without the n-grams (of two words and more) that it can best do without.

    Args:
        model: whose histories are n-grams of it.
        threshold: the growth of the perplexity, relative, below which an n-gram goes; such as 1e-8. Histories of
            longer n-grams that stay are kept.
    """
    identity = np.arange(len(model.words))
    sets = _spelled(model, identity)
    index = _Index.of(model, model.words)
    joint = index.log_prob[0].copy()  # of each history as a whole
    joint[BOS] = index.log_prob[0][EOS]  # a sentence begins as often as one ends
    chain = [joint]
    for n in range(2, len(sets)):
        chain.append(chain[-1][model.orders[n - 1].history] + index.log_prob[n - 1])
    needed: Bools = np.zeros(len(sets[-1]), bool)
    kept: list[Bools] = []
    for n in range(len(sets), 1, -1):
        grams, history = sets[n - 1], model.orders[n - 1].history
        log_prob, log_lower = index.log_prob[n - 1], index.log_probs(grams[:, 1:])
        prob, lower = np.exp(log_prob), np.exp(log_lower)
        histories = len(sets[n - 2])
        left = np.maximum(1 - np.bincount(history, prob, minlength=histories), _TINY)[history]
        below = np.maximum(1 - np.bincount(history, lower, minlength=histories), _TINY)[history]
        old, new = np.log(left) - np.log(below), np.log(left + prob) - np.log(below + lower)
        loss = -np.exp(chain[n - 2][history]) * (prob * (log_lower + new - log_prob) + left * (new - old))
        keep = needed | (np.expm1(loss) >= threshold)
        kept.insert(0, keep)
        needed = np.zeros(histories, bool)
        needed[history[keep]] = True
    sets = [sets[0], *(grams[keep] for grams, keep in zip(sets[1:], kept, strict=True))]
    probabilities = [np.exp(index.log_prob[0])]
    probabilities += [np.exp(index.log_prob[n][keep]) for n, keep in enumerate(kept, start=1)]
    return _model(model.words, sets, probabilities)
