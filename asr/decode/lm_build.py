"""Estimates n-gram language models: interpolated modified Kneser-Ney smoothing, written as ARPA files.

The method is Chen and Goodman's (1998), in the details of KenLM's ``lmplz`` (Heafield et al. 2013): adjusted counts
below the highest order, one set of discounts an order from counts of counts, singletons pruned by raw count with
their mass given to the back-off, unigrams interpolated with the uniform distribution. The results agree with
``lmplz``'s to rounding (a test compares them). It is here because building ``lmplz`` asks of every user a C++
compiler, Boost and minutes, while this takes seconds: n-grams are integer keys, (id of the history) x V + word, that
NumPy sorts.
"""

from __future__ import annotations

import gzip
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr.decode.lm_tools import program
from asr.errors import ConfigError, InputError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNK, BOS, EOS = 0, 1, 2
FALLBACK = (0.0, 0.5, 1.0, 1.5)
"""Discounts where the text is too small or too regular to estimate them: those of ``lmplz --discount_fallback``."""


@dataclass(frozen=True, slots=True)
class Grams:
    """All kept n-grams of one order, sorted by history, then word.

    Attributes:
        history: (N,) index of the first n - 1 words among the n-grams of the order below; zeros for unigrams.
        word: (N,) the last word.
        log10_prob: (N,)
        log10_backoff: (N,) zeros for the highest order.
    """

    history: Ints
    word: Ints
    log10_prob: Floats
    log10_backoff: Floats


@dataclass(frozen=True, slots=True)
class NgramModel:
    """A back-off model.

    Attributes:
        words: the vocabulary, ``<unk>``, ``<s>`` and ``</s>`` first.
        orders: the n-grams, unigrams first.
        fallbacks: the orders whose counts gave no discounts, so that `FALLBACK` was taken.
    """

    words: tuple[str, ...]
    orders: tuple[Grams, ...]
    fallbacks: tuple[int, ...] = ()


def estimate(sentences: Iterable[str], *, order: int = 3, prune: Sequence[int] = ()) -> NgramModel:
    """Estimates a model from sentences of words separated by spaces.

    Args:
        sentences: empty ones are passed over; repeated ones count again.
        order: n, from 2 to 6.
        prune: for each order the raw count up to which its n-grams are dropped; the first is 0 (all words stay),
            later ones do not fall, and the last stands for the rest.

    Raises:
        ConfigError: an order or thresholds that make no sense.
        InputError: no text, or text with reserved words in it.
    """
    thresholds = [*prune, *([prune[-1] if prune else 0] * order)][:order]
    if not 2 <= order <= 6 or thresholds != sorted(thresholds) or thresholds[0] != 0 or len(prune) > order:
        raise ConfigError(f"language model: order {order} with prune {list(prune)}: want 2 to 6, and 0 <= ... rising")
    words, tokens = _tokenise(sentences)
    counts = [_Counts.unigrams(tokens, len(words))]
    for _ in range(1, order):
        counts.append(counts[-1].extended(tokens, len(words)))
    orders: list[Grams] = []
    fallbacks: list[int] = []
    below: Floats | None = None
    kept_below = np.ones(len(words), bool)
    index_below = np.zeros(1, np.int64)
    for n, (count, threshold) in enumerate(zip(counts, thresholds, strict=True), start=1):
        adjusted = count.raw if n == order else count.adjusted(counts[n])
        kept = (count.raw > threshold) | (n == 1)
        discounts = _discounts(adjusted)
        if discounts is None:
            fallbacks.append(n)
            discounts = np.array(FALLBACK)
        rest, gamma = _discounted(count.history, adjusted, kept, discounts, 1 if n == 1 else len(counts[n - 2].raw))
        if below is None:
            prob = rest + gamma[0] / (len(words) - 1)  # uniform over words, </s> and <unk>
            prob[BOS] = 1.0
        else:
            prob = rest + gamma[count.history] * below[count.suffix]
            last = orders[-1]
            backoff = np.log10(gamma, where=gamma > 0, out=np.zeros_like(gamma))[kept_below]
            orders[-1] = Grams(last.history, last.word, last.log10_prob, backoff)
        orders.append(
            Grams(index_below[count.history][kept], count.word[kept], np.log10(prob[kept]), np.zeros(kept.sum()))
        )
        below, kept_below, index_below = prob, kept, np.cumsum(kept) - 1
    orders[0].log10_prob[BOS] = 0.0
    return NgramModel(words, tuple(orders), tuple(fallbacks))


@dataclass(frozen=True, slots=True)
class _Counts:
    """Distinct n-grams of one order, in the order of their keys.

    Attributes:
        ids: (T,) the n-gram that ends at each token, -1 where the sentence has not n words yet.
        suffix: (N,) index of the last n - 1 words among the order below.
        raw: (N,) how often each occurs.
        starts_sentence: (N,) whether its first word is ``<s>``.
    """

    ids: Ints
    history: Ints
    suffix: Ints
    word: Ints
    raw: Ints
    starts_sentence: npt.NDArray[np.bool_]

    @classmethod
    def unigrams(cls, tokens: Ints, vocabulary: int) -> _Counts:
        zeros = np.zeros(vocabulary, np.int64)
        starts = np.arange(vocabulary) == BOS
        raw = np.where(starts, 0, np.bincount(tokens, minlength=vocabulary))
        return cls(tokens, zeros, zeros, np.arange(vocabulary), raw, starts)

    def extended(self, tokens: Ints, vocabulary: int) -> _Counts:
        """The n-grams of the next order."""
        before = np.concatenate([[-1], self.ids[:-1]])
        ends = np.flatnonzero((before >= 0) & (tokens != BOS))
        keys, first, inverse, raw = np.unique(
            before[ends] * vocabulary + tokens[ends], return_index=True, return_inverse=True, return_counts=True
        )
        ids = np.full(len(tokens), -1, np.int64)
        ids[ends] = inverse
        history = keys // vocabulary
        return _Counts(ids, history, self.ids[ends[first]], keys % vocabulary, raw, self.starts_sentence[history])

    def adjusted(self, above: _Counts) -> Ints:
        """How many different words come before each n-gram; the raw count where only ``<s>`` can."""
        before = np.bincount(above.suffix, minlength=len(self.raw))
        return np.where(self.starts_sentence, self.raw, before)


def _tokenise(sentences: Iterable[str]) -> tuple[tuple[str, ...], Ints]:
    """The vocabulary and the text as one row of word indices, each sentence between BOS and EOS."""
    index = {"<unk>": UNK, "<s>": BOS, "</s>": EOS}
    tokens: list[int] = []
    count = 0
    for sentence in sentences:
        if words := sentence.split():
            count += 1
            tokens += [BOS, *(index.setdefault(word, len(index)) for word in words), EOS]
    if not tokens:
        raise InputError("language model: the text is empty")
    if np.bincount(tokens, minlength=3)[:3].tolist() != [0, count, count]:
        raise InputError("language model: the text holds <unk>, <s> or </s> as words; leave them out")
    return tuple(index), np.array(tokens, dtype=np.int64)


def _discounts(adjusted: Ints) -> Floats | None:
    """What to take off counts of 0, 1, 2 and 3 or more; None if counts of counts do not tell."""
    of = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].astype(float)
    if not of[1:4].all():
        return None
    y = of[1] / (of[1] + 2 * of[2])
    discounts = np.array([0.0, *(n - (n + 1) * y * of[n + 1] / of[n] for n in (1, 2, 3))])
    return None if (discounts < 0).any() or (discounts > [0, 1, 2, 3]).any() else discounts


def _discounted(
    history: Ints, adjusted: Ints, kept: npt.NDArray[np.bool_], discounts: Floats, histories: int
) -> tuple[Floats, Floats]:
    """Discounted probabilities (N,) and, for each history, the mass left for the order below."""
    cut = np.where(kept, adjusted, 0)
    discount = discounts[np.minimum(cut, 3)]
    denominator = np.bincount(history, adjusted, minlength=histories)
    left = np.bincount(history, adjusted - cut + discount, minlength=histories)
    gamma = np.divide(left, denominator, out=np.zeros(histories), where=denominator > 0)
    return (cut - discount) / denominator[history], gamma


def write_arpa(model: NgramModel, path: str | Path) -> None:
    """Writes the model as ARPA text, compressed if the name ends in ``.gz``; never leaves half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
                packed.write(_arpa(model).encode())
        else:
            raw.write(_arpa(model).encode())
    partial.replace(path)


def _arpa(model: NgramModel) -> str:
    lines = ["\\data\\", *(f"ngram {n}={len(grams.word)}" for n, grams in enumerate(model.orders, start=1))]
    texts = [""]
    for n, grams in enumerate(model.orders, start=1):
        lines += ["", f"\\{n}-grams:"]
        spelled = [model.words[word] for word in grams.word.tolist()]
        texts = spelled if n == 1 else [f"{texts[h]} {w}" for h, w in zip(grams.history.tolist(), spelled, strict=True)]
        rows = zip(grams.log10_prob.tolist(), texts, grams.log10_backoff.tolist(), strict=True)
        if n == len(model.orders):
            lines += [f"{prob:.7g}\t{text}" for prob, text, _ in rows]
        else:
            lines += [f"{prob:.7g}\t{text}\t{backoff:.7g}" for prob, text, backoff in rows]
    return "\n".join([*lines, "", "\\end\\", ""])


def write_binary(model: NgramModel, path: str | Path, *, bits: int = 8) -> None:
    """Writes the model as KenLM's quantised trie with ``build_binary``.

    Args:
        model: what to write.
        path: where to.
        bits: for each probability and each back-off weight.

    Raises:
        MissingDependencyError: ``build_binary`` is not installed; see `asr.decode.lm_tools`.
    """
    path = Path(path)
    tool = program("build_binary")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with tempfile.TemporaryDirectory(prefix="dengar-lm-") as scratch:
        arpa = Path(scratch) / "model.arpa"
        write_arpa(model, arpa)
        packing = ["-T", scratch, "-q", str(bits), "-b", str(bits), "-a", "64"]
        command = [str(tool), *packing, "trie", str(arpa), str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"{path}: build_binary failed: {done.stderr.strip().splitlines()[-1]}")
    partial.replace(path)
