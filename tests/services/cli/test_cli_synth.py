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
