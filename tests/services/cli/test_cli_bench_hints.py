import json
from pathlib import Path

import numpy as np
import pytest

from asr import audio
from asr.corpus import Utterance, write_manifest
from asr.decode.lm_build import estimate, write_arpa
from services.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_arpa(estimate(["call the office", "call home", "play the song"] * 3, order=2), tmp_path / "lm.arpa")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        audio.save(tmp_path / f"{name}.wav", rng.normal(0, 0.1, 8_000).astype(np.float32))
    rows = [Utterance(f"{'ab'[i % 2]}.wav", 0.5, "call zubin", id=str(i), corpus="read") for i in range(4)]
    write_manifest(tmp_path / "m.jsonl", [*rows, Utterance("gone.wav", 1.0, "play", id="x", corpus="read")])
    return tmp_path


def test_every_number_of_distractors_is_measured(folder, tiny_bundle, capsys) -> None:
    command = ["bench", "hints", str(folder / "m.jsonl"), "-b", str(tiny_bundle), "--lm", str(folder / "lm.arpa")]
    command += ["--distractors", "0,30", "--work", str(folder / "work"), "--set", "hint_boost=2"]
    assert main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [row["distractors"] for row in told["conditions"]] == [None, 0, 30]
    assert all((row["hinted"], row["elsewhere"]) == (4, 4) for row in told["conditions"])
    assert (told["utterances"], told["utterances_with_hints"], told["hint_boost"]) == (4, 4, 2.0)
    assert told["timed_with"] == 30
    assert told["time_ratio"] > 0
    assert len(told["left_out"]) == 1
    assert "gone.wav" in err
    assert main(command) == 0
    assert "+ 30 others" in capsys.readouterr().out


def test_mistakes_are_one_line(folder, tiny_bundle, capsys) -> None:
    command = ["bench", "hints", str(folder / "m.jsonl"), "-b", str(tiny_bundle), "--work", str(folder / "work")]
    assert main(command) == 3
    assert "no language model" in capsys.readouterr().err
    assert main([*command, "--lm", str(folder / "lm.arpa"), "--distractors", "many"]) == 2
    assert "--distractors many" in capsys.readouterr().err
    assert main([*command, "--lm", str(folder / "lm.arpa"), "--half", "both"]) == 2
    assert "half" in capsys.readouterr().err
