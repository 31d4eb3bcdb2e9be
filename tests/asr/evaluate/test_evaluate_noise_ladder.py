"""The noise ladder on results whose errors are known by construction."""

import base64
import re

import numpy as np
import pytest

from asr import audio
from asr.corpus.manifest import Problem, Utterance
from asr.errors import InputError
from asr.evaluate import Resampling, Results, ScoredUtterance
from asr.evaluate.empty import Invented
from asr.evaluate.evaluation import Rate
from asr.evaluate.noise_ladder import Condition, markdown, noise_ladder
from asr.evaluate.noise_ladder_page import Heard, curve, page, spread

TEXT = "one two three four five six seven eight nine ten"
CONDITIONS = [Condition(), Condition("cabin", 10.0), Condition("cabin", 5.0), Condition("files", 5.0)]


def results(wrong, *, failed=(), corpus=("a", "b"), count=40):
    """`wrong[i]` words of utterance i are missing."""
    words = TEXT.split()
    items = []
    for index in range(count):
        utterance = Utterance(f"{index}.wav", 2.0, TEXT, id=f"u{index}", corpus=corpus[index % 2])
        heard = " ".join(words[: len(words) - wrong[index]])
        error = "cannot be read" if index in failed else None
        items.append(ScoredUtterance(utterance, "" if error else heard, audio_s=2.0, error=error, manifest="m"))
    return Results(tuple(items))


@pytest.fixture
def ladder():
    rng = np.random.default_rng(0)
    heard = {}
    for step, condition in enumerate(CONDITIONS):
        first = rng.integers(1, 4 + step, 40)
        heard[condition] = [results(first), results(first // 2)]
    return noise_ladder(heard, ["plain", "car"], resampling=Resampling(resamples=300))


def test_rates_and_changes_are_those_of_the_counts():
    first, second = np.arange(40) % 5, np.arange(40) % 3
    measured = noise_ladder({Condition(): [results(first), results(second)]}, ["plain", "car"])
    (rung,) = measured.rungs
    assert [model.errors for model in rung.models] == [first.sum(), second.sum()]
    assert rung.models[0].wer.value == pytest.approx(first.sum() / 400)
    assert rung.models[0].change is None
    assert rung.models[1].change.value == pytest.approx(second.sum() / first.sum() - 1)
    assert rung.models[1].corpora == pytest.approx({"a": second[::2].sum() / 200, "b": second[1::2].sum() / 200})
    assert (measured.utterances, measured.words, measured.unit, measured.units) == (40, 400, "utterance", 40)


def test_the_interval_of_the_change_is_paired():
    # Half as many errors in every utterance: however the utterances are drawn, the change is the same.
    first = 2 * (1 + np.arange(40) % 4)
    measured = noise_ladder({Condition(): [results(first), results(first // 2)]}, ["plain", "car"])
    change = measured.rungs[0].models[1].change
    assert (change.value, change.low, change.high) == pytest.approx((-0.5, -0.5, -0.5))
    wer = measured.rungs[0].models[1].wer
    assert wer.low < wer.value < wer.high


def test_the_bootstrap_interval_covers_a_known_spread():
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 8, 400), rng.integers(0, 4, 400)
    measured = noise_ladder(
        {Condition(): [results(first, count=400), results(second, count=400)]}, ["plain", "car"],
        resampling=Resampling(resamples=4000),
    )  # fmt: skip
    change = measured.rungs[0].models[1].change
    # Delta method for a ratio of means, the oracle.
    ratio = second.sum() / first.sum()
    deviation = np.std(second - ratio * first, ddof=1) / np.sqrt(400) / first.mean()
    assert change.high - change.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_only_recordings_that_all_heard_everywhere_count():
    zero = np.zeros(40, int)
    heard = {
        Condition(): [results(zero), results(zero, failed=[3])],
        Condition("cabin", 5.0): [results(zero + 1, failed=[7]), results(zero)],
    }
    measured = noise_ladder(heard, ["plain", "car"])
    assert measured.utterances == 38
    assert {problem.where for problem in measured.left_out} == {"u3", "u7"}
    assert Problem("u3", "clean: cannot be read") in measured.left_out
    assert measured.rungs[1].models[0].errors == 38


def test_no_common_recording_is_one_clear_error():
    zero = np.zeros(2, int)
    with pytest.raises(InputError, match="no recording"):
        noise_ladder({Condition(): [results(zero, failed=[0, 1], count=2)]}, ["plain"])


def test_no_errors_to_compare_with_leave_the_change_open():
    zero = np.zeros(40, int)
    measured = noise_ladder({Condition(): [results(zero), results(zero + 1)]}, ["plain", "car"])
    assert measured.rungs[0].models[1].change == Rate(None, None, None)
    assert "| clean | 0.0 (0.0 to 0.0) | 10.0 (10.0 to 10.0) | – |" in markdown(measured)


def test_markdown_has_a_row_for_each_condition_and_corpus(ladder):
    text = markdown(ladder)
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:6] == [
        "clean", "cabin 10 dB", "cabin 5 dB", "files 5 dB",
    ]  # fmt: skip
    assert "car against plain" in text
    assert "| clean | car |" in text


def test_the_curve_has_a_panel_for_each_noise_and_a_line_for_each_model(ladder):
    drawn = curve(ladder)
    assert drawn == curve(ladder)
    for label in ("cabin", "files", "plain", "car", "10 dB", "clean"):
        assert f">{label}<" in drawn


def test_the_page_plays_each_condition_and_escapes_what_was_said(ladder):
    tone = (0.1 * np.sin(np.arange(8000) / 5)).astype(np.float32)
    heard = [Heard(condition, tone, ("<b>five</b>", "four")) for condition in CONDITIONS[:2]]
    invented = {name: [Invented("cabin", -35.0, 60.0, 2, 1, 3, Rate(180.0, 0.0, 300.0), ("uh oh",))] for name in "pq"}
    html = page(ladder, [("four", [*heard, Heard(CONDITIONS[2], None, ("", "four"))])], invented)
    sounds = re.findall(r'src="data:audio/ogg;base64,([^"]+)"', html)
    assert len(sounds) == 2
    assert len(audio.decode(base64.b64decode(sounds[0]), "page")) == len(tone)
    assert "&lt;b&gt;five" in html
    assert "<b>five" not in html
    assert "<del>four</del>" in html
    assert "uh oh" in html
    assert not re.search(r'(src|href)="https?:', html)


def test_recordings_to_listen_to_are_spread_and_short():
    items = [
        ScoredUtterance(
            Utterance(f"{n}.wav", n, "x", id=f"u{n}"), "x", audio_s=float(n), error="no" if n == 2 else None
        )
        for n in range(1, 13)
    ]
    assert spread(items, 3) == ["u1", "u4", "u6"]
    assert len(spread(items, 100)) == 7
