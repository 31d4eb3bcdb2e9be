import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.corpus.manifest import Utterance
from asr.evaluate.slices import NoiseCondition, noise_condition, slices


def utterance(**values):
    return Utterance(**{"audio_filepath": "x.wav", "duration": 1.5, "text": "call home", **values})


LABEL = st.sampled_from(["", "f", "female", "x", "unknown", "clean"])
UTTERANCES = st.builds(
    Utterance,
    audio_filepath=st.just("x.wav"),
    duration=st.floats(0.1, 100),
    text=st.sampled_from(["call home", "play", "call dengar"]),
    speaker=LABEL,
    gender=LABEL,
    age=st.sampled_from(["", "7", "23", "twenties", "100", "old"]),
    accent=LABEL,
    corpus=LABEL,
    augmentation=st.sampled_from(
        [None, {}, {"noise": "none", "snr_db": None}, {"noise": "cabin", "snr_db": -3.2}, {"noise": 5, "snr_db": "x"}]
    ),
)


@given(st.lists(UTTERANCES, min_size=1, max_size=20))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_every_dimension_is_a_partition(utterances):
    found = slices(utterances, vocabulary={"call", "home", "play"})
    assert {"length", "vocabulary"} <= set(found)
    for parts in found.values():
        assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(utterances)))
        assert all(len(indices) for indices in parts.values())


@pytest.mark.parametrize(
    ("augmentation", "expected"),
    [
        (None, None),
        ({"noise": "none", "snr_db": None, "speed": 1.1}, None),
        ({"noise": "cabin", "snr_db": 9.5}, NoiseCondition("cabin", 9.5)),
        ({"noise": "file:rain"}, NoiseCondition("file:rain", None)),
        ({"noise": {"kind": "cabin"}}, None),
    ],
)
def test_noise_is_read_from_the_draws(augmentation, expected):
    assert noise_condition(augmentation) == expected


def test_the_draws_of_the_real_augmenter_are_understood():
    from asr.augment import AugmentConfig, Augmenter

    rng = np.random.default_rng(0)
    speech = (0.1 * rng.standard_normal(16_000)).astype(np.float32)
    _, draws = Augmenter(AugmentConfig.noise_at_snr(5.0), seed=0).apply(speech, "x")
    assert noise_condition(draws) == NoiseCondition("cabin", 5.0)
    _, draws = Augmenter(AugmentConfig(), seed=0).apply(speech, "x")
    assert noise_condition(draws) is None


def test_the_snr_ladder_goes_from_clean_to_loud():
    noisy = [utterance(augmentation={"noise": "cabin", "snr_db": float(db)}) for db in (0, 20, -5, 11.9)]
    assert list(slices([*noisy, utterance()])["snr"]) == ["clean", "20 dB", "10 dB", "0 dB", "-5 dB"]


def test_bands_and_synonyms():
    items = [utterance(duration=duration) for duration in (0.5, 1.0, 7.9, 40.0)]
    assert list(slices(items)["length"]) == ["0 to 1 s", "1 to 2 s", "4 to 8 s", "16 s and longer"]
    items = [utterance(age=age, gender=gender) for age, gender in (("twenties", "F"), ("25", "female"), ("8", ""))]
    assert {name: len(found) for name, found in slices(items)["age"].items()} == {"0 to 9": 1, "20 to 29": 2}
    assert {name: len(found) for name, found in slices(items)["gender"].items()} == {"female": 2, "unknown": 1}


def test_dimensions_of_which_nothing_is_known_are_left_out():
    assert set(slices([utterance(), utterance(corpus="fsdd")])) == {"corpus", "length"}
    assert slices([]) == {}
