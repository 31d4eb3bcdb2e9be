import json

import pytest
import soundfile

from asr.corpus.manifest import Utterance, write_manifest
from asr.synth import of_engine, open_engine
from services.cli.main import main


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench-endpoint")
    rows = []
    for number, text in enumerate(("call john", "play some music")):
        samples = open_engine("espeak").speak(text, of_engine("espeak", "test")[number])
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        rows.append(Utterance(f"{number}.wav", len(samples) / 16_000, text, id=str(number), corpus="espeak"))
    write_manifest(folder / "queries.jsonl", rows)
    return folder / "queries.jsonl"


def test_rules_are_measured_and_can_be_tried_again(manifest, tmp_path, capsys) -> None:
    kept, figure = tmp_path / "traces.jsonl", tmp_path / "endpoint.svg"
    command = ["bench", "endpoint", str(manifest), "--snr", "clean,10", "--hesitation", "0.4", "--json"]
    assert main([*command, "--traces", str(kept), "--figure", str(figure)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["condition"] for row in found["rows"]} == {"clean", "cabin 10 dB"}
    assert all(row["recordings"] == 2 for row in found["rows"])
    assert found["settings"]["hesitation_s"] == 0.4
    assert figure.read_text().startswith("<?xml")

    assert main(["bench", "endpoint", str(kept), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == found["rows"]

    slow = ("silence_s", "complete_silence_s", "open_silence_s")
    assert main(["bench", "endpoint", str(kept), "--json", *(f"--set={name}=1.5" for name in slow)]) == 0
    slower = json.loads(capsys.readouterr().out)
    assert slower["rules"]["silence_s"] == 1.5
    assert slower["rows"][0]["delay_median_s"] > max(1.5, found["rows"][0]["delay_median_s"])

    assert main(["bench", "endpoint", str(kept)]) == 0
    shown = capsys.readouterr().out
    assert "clean, espeak: 2 recordings" in shown
    assert f"{found['rows'][0]['delay_median_s']:.2f} {found['rows'][0]['delay_p95_s']:.2f}" in shown


def test_rules_that_contradict_each_other_are_refused(manifest, capsys) -> None:
    assert main(["bench", "endpoint", str(manifest), "--set", "voice_off=0.9"]) == 2
    assert "voice_off must not exceed voice_on" in capsys.readouterr().err


def test_what_cannot_be_heard_is_named(manifest, capsys) -> None:
    broken = manifest.with_name("broken.jsonl")
    broken.write_text(manifest.read_text().replace('"1.wav"', '"gone.wav"'))
    assert main(["bench", "endpoint", str(broken), "--snr", "clean", "--json"]) == 1
    captured = capsys.readouterr()
    assert "gone.wav" in captured.err
    assert json.loads(captured.out)["rows"][0]["recordings"] == 1
