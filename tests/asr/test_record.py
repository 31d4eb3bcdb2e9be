"""An experiment's record takes its rates from results, keeps the rest, and refuses another bundle's."""

import json
from pathlib import Path

from asr.corpus import Utterance
from asr.evaluate import Results, ScoredUtterance
from asr.record import main


def heard(folder: Path, errors: dict[str, int], *, bundle: str = "abc", every: int = 1, snr_db=()) -> Path:
    """Twelve utterances of four words of each corpus, the first so many of which lose a word."""
    items = []
    for corpus, wrong in errors.items():
        for number in range(0, 12, every):
            for ratio in snr_db or (None,):
                draws = None if ratio is None else {"noise": "cabin", "snr_db": ratio}
                said = Utterance(f"{corpus}{number}.wav", 2.0, "turn left at once", corpus=corpus, augmentation=draws)
                text = "turn left at" if number < wrong else "turn left at once"
                items.append(ScoredUtterance(said, text, audio_s=2.0, processor_s=0.02))
    Results(tuple(items), settings={"bundle_hash": bundle}).write(folder)
    return folder


def call(tmp_path: Path, **changes) -> int:
    folders = {
        "clean": heard(tmp_path / "clean", {"a": 12, "b": 6}),
        "car": heard(tmp_path / "car", {"a": 12, "b": 12}, every=3, snr_db=(20.0, 5.0)),
        "train": heard(tmp_path / "train", {"a": 3}),
        **changes,
    }
    options = [f"--{name}={folder}" for name, folder in folders.items()]
    return main([str(tmp_path / "record.json"), *options, "--commit", "1234567"])


def test_the_rates_are_those_of_the_results_and_the_rest_stays(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"bundle": "abc", "training": [{"steps": 5}], "quiet": "old", "check": 1}))
    assert call(tmp_path) == 0
    found = json.loads(record.read_text())
    assert list(found) == ["bundle", "training", "quiet", "check", "evaluated_at_commit", "car", "train"]
    assert (found["training"], found["check"], found["evaluated_at_commit"]) == ([{"steps": 5}], 1, "1234567")
    assert found["quiet"]["all"]["wer"] == 18 / 96
    assert found["quiet"]["all"]["rtf"] == 0.01
    assert found["quiet"]["b"]["wer"] == 6 / 48
    assert found["quiet"]["b"]["interval"][0] <= 6 / 48 <= found["quiet"]["b"]["interval"][1]
    assert list(found["car"]) == ["clean", "20 dB", "5 dB"]
    assert found["car"]["clean"]["b"] == {
        "utterances": 4,
        "words": 16,
        "wer": 2 / 16,
        "cer": 0.1471,
    }
    assert found["car"]["5 dB"]["b"]["wer"] == 4 / 16
    assert found["train"]["a"]["wer"] == 3 / 48


def test_results_of_another_bundle_and_a_record_without_one_are_refused(tmp_path: Path, capsys) -> None:
    record = tmp_path / "record.json"
    text = json.dumps({"bundle": "abc"})
    record.write_text(text)
    assert call(tmp_path, train=heard(tmp_path / "other", {"a": 1}, bundle="other")) != 0
    assert "holds results of bundle other" in capsys.readouterr().err
    assert record.read_text() == text
    record.write_text("[]")
    assert call(tmp_path) != 0
    assert "names its bundle" in capsys.readouterr().err
