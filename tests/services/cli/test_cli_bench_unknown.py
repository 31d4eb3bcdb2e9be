import json
from pathlib import Path

import numpy as np
import pytest

from asr import audio
from asr.bundle import build_bundle
from asr.corpus import Utterance, write_manifest
from asr.decode import DecoderConfig
from asr.decode.lm_build import estimate, write_arpa
from services.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        audio.save(tmp_path / f"{name}.wav", rng.normal(0, 0.1, 24_000).astype(np.float32))
    rows = [Utterance(f"{name}.wav", 1.5, "call ana li", id=name, corpus="made") for name in "abcd"]
    write_manifest(tmp_path / "m.jsonl", [*rows, Utterance("gone.wav", 1.0, "play", id="x", corpus="made")])
    (tmp_path / "names.txt").write_text("Ana Li\nBo Ka\n")
    return tmp_path


def test_both_halves_are_heard_and_one_is_reported(folder, tiny_run, capsys) -> None:
    write_arpa(estimate(["call the office", "call home", "play the song"] * 3, order=2), folder / "lm.arpa")
    bundle = build_bundle(tiny_run, folder / "bundle", decoder=DecoderConfig(beam_width=4), lm=folder / "lm.arpa")
    command = ["bench", "unknown", str(folder / "m.jsonl"), "-b", str(bundle), "--names", str(folder / "names.txt")]
    command += ["--work", str(folder / "work"), "--snr", "clean,10"]
    settings = folder / "unknown.yaml"
    assert main([*command, "--fit", "--json", "-o", str(settings)]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [row["condition"] for row in told["sets"]] == ["clean", "cabin 10 dB", "all"]
    assert [row["utterances"] for row in told["sets"]] == [1, 1, 2]  # the item that is gone is in this half
    assert told["sets"][-1]["unknown_words"] == 4  # "ana" and "li" in each
    assert told["settings"]["unknown"]["evidence"].keys() == told["baseline"]["evidence"].keys()
    assert [row["spoken"] for row in told["proposals"]] == [1, 1]
    assert len(told["left_out"]) == 2  # once for each condition
    assert "gone.wav" in err
    assert main(command) == 0
    assert "cabin 10 dB" in capsys.readouterr().out

    built = ["bundle", "build", str(tiny_run), "-o", str(folder / "fitted"), "--lm", str(folder / "lm.arpa")]
    assert main([*built, "--set", "beam_width=4", "--unknown", str(settings), "--alias", "fitted", "--json"]) == 0
    capsys.readouterr()
    command[command.index("-b") + 1] = str(folder / "fitted" / "fitted")
    assert main([*command, "--json"]) == 0
    of_bundle = json.loads(capsys.readouterr().out)
    assert not of_bundle["fitted"]
    assert of_bundle["settings"]["unknown"] == told["settings"]["unknown"]


def test_mistakes_are_one_line(folder, tiny_bundle, capsys) -> None:
    command = ["bench", "unknown", str(folder / "m.jsonl"), "-b", str(tiny_bundle), "--work", str(folder / "work")]
    assert main(command) == 3
    assert "no language model" in capsys.readouterr().err
    assert main([*command, "--snr", "loud"]) == 2
    assert "--snr loud" in capsys.readouterr().err
