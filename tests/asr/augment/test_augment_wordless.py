import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.augment import AugmentConfig, Augmenter
from asr.augment.wordless import LEVEL_DB, Wordless

CAR = {"noise": {"probability": 0.7, "snr_db": 5, "kinds": {"cabin": 1.0}}, "cabin": {"clips": 2, "clip_s": 4}}
NOISE = Augmenter(AugmentConfig.from_dict(CAR), seed=3).noise


@given(st.integers(1600, 60_000), st.integers(0, 50), st.integers(0, 3))
@settings(max_examples=20)
def test_replacements_have_the_length_and_a_level_in_the_range_and_come_from_the_names_alone(length, name, epoch):
    piece = Wordless(0.999, NOISE, 3).replacement(length, str(name), epoch)
    again = Wordless(0.999, NOISE, 3).replacement(length, str(name), epoch)
    assert piece is not None
    assert again is not None
    assert piece.shape == (length,)
    assert piece.dtype == np.float32
    assert np.array_equal(piece, again)
    level_db = 10 * np.log10(np.mean(piece.astype(np.float64) ** 2))
    assert LEVEL_DB[0] - 0.1 < level_db < LEVEL_DB[1] + 0.1  # clipping takes a little off the loudest


def test_a_share_of_the_utterances_is_replaced_and_others_in_the_next_epoch():
    wordless = Wordless(0.25, NOISE, 3)
    chosen = [{n for n in range(400) if wordless.replacement(16, str(n), epoch) is not None} for epoch in (0, 1)]
    assert all(70 < len(names) < 130 for names in chosen)
    assert chosen[0] != chosen[1]
