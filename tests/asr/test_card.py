"""The card says what was measured, of this bundle, and names what it does not know."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from asr.bundle import load_bundle
from asr.card import TrainingRun, calibration_error, measure, model_card, read_training
from asr.corpus import Utterance
from asr.decode import Word
from asr.errors import InputError
from asr.evaluate import Results, ScoredUtterance


def item(index: int, corpus: str, heard: str, snr_db: float | None = None) -> ScoredUtterance:
    draws = None if snr_db is None else {"noise": "cabin", "snr_db": snr_db}
    utterance = Utterance(
        f"{index}.wav", 2.0, "call john now", id=str(index), corpus=corpus, gender="f" if index % 2 else "m",
        augmentation=draws,
    )  # fmt: skip
    words = tuple(Word(word, 0.0, 1.0, 0.8) for word in heard.split())
    return ScoredUtterance(utterance, heard, words, 0.8, audio_s=2.0, processor_s=0.02)


@pytest.fixture
def results(tiny_bundle: Path) -> Results:
    items = [item(i, "good", "call john now") for i in range(20)] + [item(20 + i, "bad", "call") for i in range(20)]
    items += [item(40, "tiny", "call john"), *(item(i, "good", "john", snr_db=5.0) for i in range(20))]
    return Results(tuple(items), (), {"bundle_hash": load_bundle(tiny_bundle).hash})


def test_every_figure_of_the_card_is_that_of_the_evaluation(tiny_bundle: Path, results: Results) -> None:
    bundle = load_bundle(tiny_bundle)
    run = measure("dev", results)
    assert [rung.condition for rung in run.rungs] == ["quiet", "cabin 5 dB"]
    card = model_card(bundle, [run], notes="Made for a test.")
    quiet = run.quiet
    assert quiet is not None
    assert quiet.overall.wer.value == pytest.approx(41 / 123)
    assert "| **all** | 41 | 33.3 % (" in card
    assert "| corpus: bad | 20 | 66.7 % (66.7-66.7) |" in card
    assert "| corpus: good | 20 | 0.0 % (0.0-0.0) |" in card
    assert "corpus tiny (1)" in card
    assert "| corpus: tiny" not in card
    assert "- corpus bad: 66.7 %" in card
    assert "| cabin 5 dB | 20 | 66.7 % (66.7-66.7) | - | 66.7 % | - |" in card
    assert "0.0100 processor seconds" in card
    assert bundle.name in card
    assert "Made for a test." in card
    assert f"{bundle.engine().geometry.look_ahead_s * 1000:.0f} ms ahead" in card
    assert calibration_error(quiet) == pytest.approx(0.2)
    assert "error of the words' confidences: 20.0 %" in card
    assert "Not recorded." in card
    assert "- Noise: in cabin 5 dB 66.7 % (66.7-66.7) of the words are wrong." in card
    assert "- More than every fourth word is wrong, in quiet, in: bad 66.7 %." in card
    assert "- It has no language model: it writes by sound." in card


def test_training_is_added_up_and_what_is_not_known_is_named(tiny_bundle: Path) -> None:
    runs = [TrainingRun("a.yaml", minutes=30, steps=10), TrainingRun("b.yaml", minutes=60), TrainingRun("c.yaml")]
    runs[0] = replace(runs[0], hours={"reading": 3.7})
    runs[1] = replace(runs[1], hours={"reading": 3.7, "queries": 0.52})
    card = model_card(load_bundle(tiny_bundle), [], runs)
    table = card.split("before augmentation:\n\n")[1].split("\n\n")[0]
    assert table.splitlines() == [
        "| step | reading | queries |",
        "|---|---|---|",
        "| a.yaml | 3.70 | - |",
        "| b.yaml | 3.70 | 0.52 |",
        "| c.yaml | - | - |",
    ]
    assert "1.5 hours on the clock in all, not counting c.yaml" in card
    assert "Not measured in quiet." in card


def test_int8_against_float_stands_in_the_card(tiny_bundle: Path) -> None:
    check = {
        "utterances": 10, "words": 90, "wer_served": 0.2513, "wer_float": 0.25, "relative_difference": 0.0052,
        "mean_difference": 0.001, "max_difference": 0.3, "beside": 5, "beside_changed": 0,
    }  # fmt: skip
    card = model_card(load_bundle(tiny_bundle), [], check=check)
    assert "25.13 % word errors served, 25.00 % with float weights (+0.52 % relative)" in card
    assert "0 of 5 utterances have other words" in card


def test_results_of_another_bundle_are_refused(tiny_bundle: Path, results: Results) -> None:
    other = replace(results, settings={"bundle_hash": "0" * 64})
    with pytest.raises(InputError, match="results of bundle 000000000000"):
        model_card(load_bundle(tiny_bundle), [measure("dev", other)])


def test_training_is_read_from_an_experiment_and_from_a_run(tiny_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({"training": [{"config": "a.yaml", "steps": 5, "unheard_of": 1}], "other": 2}))
    assert read_training(path) == [TrainingRun("a.yaml", steps=5)]
    path.write_text(json.dumps({"training": [{"steps": 5}]}))
    with pytest.raises(InputError, match=r"bundle\.json"):
        read_training(path)
    with pytest.raises(InputError, match="finished run"):
        read_training(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "final.pt").write_bytes((tiny_run / "final.pt").read_bytes())
    (folder / "config.yaml").write_text("name: mine\nseed: 4\nthreads: 2\n")
    rows = [{"step": i, "epoch": i // 4, "loss": 1.0} for i in range(6)]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_training(folder) == [TrainingRun("mine", seed=4, threads=2, epochs=1.5)]
    (folder / "data.json").write_text(json.dumps({"hours": {"a": 1.5, "b": 0.5}}))
    assert read_training(folder)[0].hours == {"a": 1.5, "b": 0.5}
    assert read_training(folder)[0].audio_h == 2.0
