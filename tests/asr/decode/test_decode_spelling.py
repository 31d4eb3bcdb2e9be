import itertools
import math
from collections import Counter

import numpy as np
import pytest

from asr.decode.spelling import spelling_model

WORDS = ["abba", "ab", "b", "bab", "abb"]
ALPHABET = "ab"
END = 2


def model(order):
    letters = np.array([ALPHABET.index(letter) for letter in "".join(WORDS)], np.int32)
    return spelling_model(letters, np.cumsum([0, *map(len, WORDS)]), len(ALPHABET), order)


def witten_bell(context, letter):
    """From its definition, by recursion over shorter contexts."""
    if context is None:
        return 1 / 3
    shorter = context[1:] if context else None
    after = Counter()
    for word in WORDS:
        spelled = [END] * 3 + [ALPHABET.index(c) for c in word] + [END]
        for place in range(3, len(spelled)):
            if tuple(spelled[place - len(context) : place]) == context:
                after[spelled[place]] += 1
    if not after:
        return witten_bell(shorter, letter)
    kinds = len(after)
    return (after[letter] + kinds * witten_bell(shorter, letter)) / (after.total() + kinds)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_probability_is_witten_and_bells(order):
    table = model(order)
    assert table.shape == (3 ** (order - 1), 3)
    for row, context in enumerate(itertools.product(range(3), repeat=order - 1)):
        for letter in range(3):
            assert math.exp(table[row, letter]) == pytest.approx(witten_bell(context, letter), rel=1e-5)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_letters_after_each_context_add_up_to_one(order):
    assert np.exp(model(order)).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
