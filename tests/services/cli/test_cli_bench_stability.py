import json

import pytest
import soundfile

from asr.corpus.manifest import Utterance, write_manifest
from asr.synth import of_engine, open_engine
from services.cli.main import main


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench-stability")
    rows = []
    for number, text in enumerate(("call john at the office", "play some music")):
        samples = open_engine("espeak").speak(text, of_engine("espeak", "test")[number])
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        rows.append(Utterance(f"{number}.wav", len(samples) / 16_000, text, id=str(number), corpus="e", speaker=text))
    write_manifest(folder / "queries.jsonl", rows)
    return folder / "queries.jsonl"


def test_stability_is_fitted_on_one_half_and_measured_on_the_other(manifest, capsys) -> None:
    assert main(["bench", "stability", str(manifest), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recordings"] == 2
    assert min(found["interim_results"].values()) > 0
    for name in ("bundle", "fitted", "first measure"):
        measured = found["report"][name]
        assert measured["results"] == found["interim_results"]["report"]
        assert 0 <= measured["mean"] <= 1
        assert 0 <= measured["calibration_error"] <= 1
    assert found["weights"]["fitted"]["age"] >= 0 >= found["weights"]["fitted"]["young"]

    assert main(["bench", "stability", str(manifest)]) == 0
    assert "words taken back" in capsys.readouterr().out


def test_one_recording_is_too_little(manifest, capsys) -> None:
    assert main(["bench", "stability", str(manifest), "--every", "2"]) == 2
    assert "too few recordings" in capsys.readouterr().err
