"""`dengar bench load` against a server that it starts, with a bundle of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr.audio import save
from services.cli.load_tables import STAGES
from services.cli.main import main
from tests.services.conftest import tones


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    samples = tones("one two")
    save(tmp_path / "a.wav", samples)
    line = {"audio_filepath": "a.wav", "duration": len(samples) / 16_000, "text": "one two"}
    path = tmp_path / "queries.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    return path


def test_levels_stages_and_streams_per_core(
    tiny_bundle: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures" / "load.json"
    options = ["--bundle", str(tiny_bundle), "--streams", "2", "--seconds", "4", "--no-compare", "--final-ms", "60000"]
    code = main(["bench", "load", str(manifest), *options, "--serve=--threads=1", "--out", str(out)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    found = json.loads(out.read_text(encoding="utf-8"))
    level = found["levels"][0]
    assert level["streams"] == 2
    assert level["queries"] >= 2
    assert level["final"][0] > 0
    assert set(level["stages"]) <= set(STAGES)
    assert {"receive", "features", "model", "decode", "results", "send", "transport", "other"} <= set(level["stages"])
    assert sum(level["stages"].values()) >= level["cpu_per_audio_s"] * 0.99
    assert level["generator_cpu_share"] > 0
    assert found["encoder"] in ("conv", "whisper")
    assert found["streams_per_core"] == found["streams"] / found["cores"]
    for shown in (*STAGES, "streams per core", "memory, idle and per stream"):
        assert shown in printed or (shown.startswith("memory") and not level["kept"])
