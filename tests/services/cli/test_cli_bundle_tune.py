import json
from pathlib import Path

import numpy as np
import pytest

from asr import audio
from asr.config import load_config
from asr.corpus import Utterance, write_manifest
from asr.decode import DecoderConfig
from asr.decode.lm_build import estimate, write_arpa
from services.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_arpa(estimate(["call the office", "call home", "play the song"] * 3, order=2), tmp_path / "lm.arpa")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        audio.save(tmp_path / f"{name}.wav", rng.normal(0, 0.1, 16_000).astype(np.float32))
    rows = [Utterance(f"{'ab'[i % 2]}.wav", 1.0, "call home", id=str(i), corpus="read") for i in range(6)]
    write_manifest(tmp_path / "m.jsonl", rows)
    return tmp_path


def test_tuning_writes_settings_trials_and_figures_of_the_other_half(folder, tiny_bundle, capsys) -> None:
    settings = folder / "out" / "decoder.yaml"
    command = ["bundle", "tune", str(folder / "m.jsonl"), "-b", str(tiny_bundle), "--lm", str(folder / "lm.arpa")]
    command += ["--set", "beam_width=3", "--work", str(folder / "work"), "-o", str(settings), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(settings.with_suffix(".json").read_text())
    assert (told["utterances"], told["report"]["utterances"]) == (3, 3)
    best = load_config(DecoderConfig, settings)
    assert best.beam_width == 3
    assert best.calibration is not None
    whole = [trial for trial in told["trials"] if trial["utterances"] == "all"]
    assert told["objective"] <= min(trial["objective"] for trial in whole) + 0.001
    assert set(told["report"]["rates"]) == {"greedy", "beam without language model", "before tuning", "tuned"}
    assert 0 <= told["report"]["confidence"]["calibrated"]["word_ece"] <= 1
    assert told["left_out"] == []
    # A second run takes posteriors and trials from the folder and comes to the same.
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "work").iterdir()}
    assert main(command) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["best"] == told["best"]
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "work").iterdir()} == kept
    # Settings may only be calibrated, and items take turns in the conditions.
    plain = [*command, "--no-search", "--decoder", str(settings), "--snr", "clean,10"]
    assert main(plain) == 0
    calibrated = json.loads(capsys.readouterr().out)
    assert calibrated["trials"] == []
    assert calibrated["best"]["lm_weight"] == told["best"]["lm_weight"]


def test_what_cannot_be_read_is_counted(folder, tiny_bundle, capsys) -> None:
    (folder / "b.wav").unlink()
    command = ["bundle", "tune", str(folder / "m.jsonl"), "-b", str(tiny_bundle), "--lm", str(folder / "lm.arpa")]
    assert main([*command, "--no-search", "--work", str(folder / "work"), "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["utterances"] + told["report"]["utterances"] == 3
    assert len(told["left_out"]) == 3
    assert err.count("b.wav: cannot be read") == 3


def test_conditions_that_are_none_and_missing_language_models_are_one_line(folder, tiny_bundle, capsys) -> None:
    command = ["bundle", "tune", str(folder / "m.jsonl"), "-b", str(tiny_bundle)]
    assert main(command) == 3
    assert "no language model" in capsys.readouterr().err
    assert main([*command, "--lm", str(folder / "lm.arpa"), "--snr", "loud"]) == 2
    assert "--snr loud" in capsys.readouterr().err
