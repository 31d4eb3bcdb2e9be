"""`dengar data synth` as a person types it."""

import json
from pathlib import Path

import pytest

from asr import audio
from asr.corpus import read_manifest
from services.cli.main import main

DATA = Path(__file__).parents[3] / "data"


def test_one_sentence(tmp_path, capsys):
    out = tmp_path / "jazz.wav"
    assert main(["data", "synth", "--text", "play some jazz", "--voice", "flite:slt", "-o", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["duration_s"] == pytest.approx(len(audio.load(out)) / audio.SAMPLE_RATE_HZ, abs=1e-3)


def test_a_corpus(tmp_path, capsys):
    recipe = str(DATA / "demo-train.yaml")
    options = ["--engine", "flite", "--voices", "test", "--count", "3", "--seed", "5", "--json"]
    assert main(["data", "synth", recipe, "-o", str(tmp_path), *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["made"] == printed["utterances"] == 3
    manifest = read_manifest(printed["manifest"])
    assert {(utterance.speaker, utterance.split) for utterance in manifest.utterances} == {("flite:rms", "test")}


def test_a_longer_vocal_tract(tmp_path):
    spoken = []
    for tract in ("1", "1.2"):
        out = tmp_path / f"{tract}.wav"
        assert main(["data", "synth", "--text", "play some jazz", "--vocal-tract", tract, "-o", str(out)]) == 0
        spoken.append(audio.load(out))
    assert len(spoken[0]) == len(spoken[1])
    assert abs(spoken[0] - spoken[1]).max() > 0.05


def test_what_was_left_out_is_told(tmp_path, capsys):
    (tmp_path / "own.txt").write_text("".join(f"play the {word} song\n" for word in "abcdefgh") + "плей\n" * 99)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "{corpus: own, split: train, sources: [{sentences: own.txt}], parts: [{engine: flite, count: 4}]}"
    )
    assert main(["data", "synth", str(recipe), "-o", str(tmp_path / "out")]) == 0
    assert "cannot be spoken" in capsys.readouterr().err


def test_names_are_held_out_for_a_recipe_to_exclude(tmp_path, capsys):
    (tmp_path / "people.csv").write_text("name\nAna Quill\nBo Brant\nCy Odum\nDi Zephyrine\n")
    (tmp_path / "texts.txt").write_text("we know cy odum\n")
    out = tmp_path / "heldout.txt"
    options = ["-t", str(tmp_path / "texts.txt"), "-t", str(DATA / "queries/demo.yaml"), "--share", "1"]
    assert main(["data", "heldout-names", str(tmp_path / "people.csv"), *options, "-o", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["names"], printed["held_out"]) == (4, 3)
    assert out.read_text().splitlines() == printed["list"] == ["Ana Quill", "Bo Brant", "Di Zephyrine"]


def test_voices_are_listed(capsys):
    assert main(["data", "synth", "--list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"id", "split", "gender", "accent"} <= set(rows[0])
    assert {row["engine"] for row in rows} == {"kokoro", "flite", "espeak"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--text", "hello"],
        ["nowhere.yaml", "-o", "out"],
        ["--text", "hello", "--voice", "kokoro:nobody", "-o", "out.wav"],
        [str(DATA / "demo-test.yaml"), "-o", "out", "--voices", "validation"],
        [str(DATA / "demo-test.yaml"), "-o", "out", "--engine", "dectalk"],
        [str(DATA / "demo-test.yaml"), "--text", "hello", "-o", "out"],
        [str(DATA / "demo-test.yaml"), "-o", "out", "--count", "100000"],
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "synth", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
