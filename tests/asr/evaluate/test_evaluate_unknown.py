"""Figures of the search for unknown words, on cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from asr.decode import Hypothesis, Word
from asr.evaluate.unknown import Sample, Span, average_precision, calibration_error, curve, only, spans, weights_of
from asr.evaluate.unknown_fit import best_threshold, fit
from asr.evaluate.unknown_names import Listed, fit_catalogue, fit_rescoring, names_found, spoken_name
from asr.unknown import Catalogue, CatalogueConfig, Proposal, RescoreConfig
from asr.unknown.evidence import FEATURES, Unit


def sample(text: str, unknown: tuple[str, ...] = (), features: np.ndarray | None = None) -> Sample:
    """Words of one second each, heard as they are."""
    words = tuple(Word(word, float(place), place + 1.0, 0.5) for place, word in enumerate(text.split()))
    rows = np.zeros((len(words), len(FEATURES))) if features is None else features
    return Sample(
        text=text,
        corpus="test",
        log_probs=np.zeros((50 * len(words), 29), np.float32),
        hypothesis=Hypothesis(text, words, 0.5, 0.0),
        units=tuple(Unit(word, 50 * place, 50 * place + 50, word.word) for place, word in enumerate(words)),
        features=rows,
        words=words,
        unknown=tuple(word for word in words if word.word in unknown),
        labels=np.array([word.word in unknown for word in words]),
    )


SAMPLES = [sample("a b c", ("b", "c")), sample("d e"), sample("f", ("f",))]
SPANS = [Span(0, 1, 3, 0.9, (0, 1)), Span(1, 0, 1, 0.6, ()), Span(2, 0, 1, 0.4, (0,)), Span(1, 1, 2, 0.1, ())]


def test_precision_counts_spans_and_recall_counts_words() -> None:
    strict, loose = curve(SAMPLES, SPANS, [0.5, 0.0])
    assert (strict.spans, strict.precision, strict.recall) == (2, 0.5, pytest.approx(2 / 3))
    assert strict.false_per_100 == pytest.approx(100 / 3)
    assert (loose.spans, loose.precision, loose.recall) == (4, 0.5, 1.0)
    assert curve(SAMPLES, [], [0.5])[0].precision == 1.0


def test_average_precision_is_the_area_by_hand() -> None:
    # Two words at precision 1, one more at the third rank with two of three right.
    assert average_precision(SAMPLES, SPANS) == pytest.approx((2 * 1 + 1 * 2 / 3) / 3)
    assert average_precision(SAMPLES, []) == 0


def test_calibration_error_is_0_where_scores_are_shares() -> None:
    found = [Span(0, 0, 1, 0.5, (0,)), Span(0, 0, 1, 0.5, ())]
    assert calibration_error(found) == pytest.approx(0)
    assert calibration_error([Span(0, 0, 1, 1.0, ())]) == pytest.approx(1)


def made(seed: int) -> list[Sample]:
    """Utterances of four words, of which the unknown ones have more of one feature."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(120):
        words = [f"w{number}x{place}" for place in range(4)]
        unknown = tuple(word for word in words if rng.random() < 0.15)
        rows = rng.normal(0, 1, (4, len(FEATURES)))
        rows[:, 0] += [2.5 * (word in unknown) for word in words]
        found.append(sample(" ".join(words), unknown, rows))
    return found


def test_fitting_finds_the_feature_that_tells_and_its_scores_are_probabilities() -> None:
    config = fit(made(0), 0.02)
    weights = {name: getattr(config.evidence, name) for name in FEATURES}
    assert max(weights, key=lambda name: abs(weights[name])) == FEATURES[0]
    others = made(1)
    found = spans(others, config, 0.02)
    assert average_precision(others, found) > 0.7
    assert calibration_error(found) < 0.2
    threshold = best_threshold(others, found)
    point = curve(others, found, [threshold])[0]
    assert min(point.precision, point.recall) > 0.6


def test_the_baseline_uses_its_features_alone() -> None:
    config = fit(made(0), 0.02, ("surprise",))
    assert config.evidence.doubt == 0
    assert only(("surprise",), np.ones((2, len(FEATURES)))).sum() == 2
    assert weights_of(range(len(FEATURES) + 1)).bias == 0


def test_spoken_names_are_the_longest_and_may_be_possessive() -> None:
    names = {"ana li", "ana li perez", "adele"}
    assert spoken_name("call ana li perez", names) == "ana li perez"
    assert spoken_name("when is ana li's birthday", names) == "ana li"
    assert spoken_name("play adele's", names) == "adele"
    assert spoken_name("play something", names) == ""


def listed(number: int, name: str, *others: str, score: float = 0.8) -> Listed:
    proposals = tuple(Proposal(one, 0.1 * place, 0.1) for place, one in enumerate(others))
    ratios = tuple(0.0 if one == name else -20.0 for one in others)
    return Listed(number, score, name, proposals, ratios)


def test_ranks_of_right_names_are_counted_over_all_that_were_spoken() -> None:
    catalogue = Catalogue.of_names(["ana li", "bo ka", "cy du", "ed fo"])
    samples = [
        sample("call ana li", ("li",)),
        sample("call bo ka", ("ka",)),
        sample("ring cy du"),
        sample("ed fo", ("fo",)),
    ]
    found = [
        listed(0, "ana li", "bo ka", "ana li"),
        listed(1, "bo ka", "cy du"),
        listed(2, "cy du", "cy du"),  # a known surname is not counted
        listed(3, "ed fo", "ed fo", score=0.2),
    ]
    by_sound = names_found(samples, found, catalogue, None, threshold=0.5)
    assert (by_sound.spoken, by_sound.spotted, by_sound.among) == (3, 2, (0, 1, 1))
    assert names_found(samples, found, catalogue, RescoreConfig()).among == (2, 2, 2)


def test_fitted_probabilities_say_how_often_the_name_is_right() -> None:
    rng = np.random.default_rng(3)
    found = []
    for number in range(200):
        right = rng.random() < 0.6
        proposals = (Proposal("a", 0.1 if right else 0.4, 0.1), Proposal("b", 0.5, 0.1))
        found.append(Listed(number, 0.9, "a" if right else "", proposals, (-2.0 if right else -15.0, -20.0)))
    config, mean = fit_rescoring(found, RescoreConfig())
    assert mean > -0.1
    assert config.acoustic + config.sound > 0
    assert 0.1 < fit_catalogue(found, CatalogueConfig()).none < 0.4
