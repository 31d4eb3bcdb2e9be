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
def lm(tmp_path: Path) -> Path:
    write_arpa(estimate(["call the office", "call home", "play the song"] * 3, order=2), tmp_path / "lm.arpa")
    return tmp_path / "lm.arpa"


def test_a_run_becomes_a_bundle_whose_decoder_can_be_tuned(tiny_run, lm, tmp_path, capsys, monkeypatch) -> None:
    out = tmp_path / "bundles"
    built = ["bundle", "build", str(tiny_run), "-o", str(out), "--lm", str(lm), "--set", "beam_width=3"]
    assert main([*built, "--chunk-frames", "6", "--alias", "mine", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("DENGAR_BUNDLES", str(out))
    assert main(["bundle", "show", "mine", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["hash"] == result["hash"]
    assert shown["language_model"] == "lm.arpa"
    assert (shown["decoder"]["beam_width"], shown["model"]["encoder"]["chunk_frames"]) == (3, 6)

    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    audio.save(tmp_path / "a.wav", samples)
    write_manifest(tmp_path / "m.jsonl", [Utterance("a.wav", 1.0, "call home", id=str(i)) for i in range(3)])
    settings = tmp_path / "decoder.yaml"
    command = ["bundle", "tune", str(tmp_path / "m.jsonl"), "-b", "mine", "--work", str(tmp_path / "tune"), "--json"]
    assert main([*command, "-o", str(settings)]) == 0
    assert json.loads(capsys.readouterr().out)["utterances"] == 2
    assert load_config(DecoderConfig, settings).beam_width == 3


def test_without_a_language_model_there_is_nothing_to_tune(tiny_bundle, tmp_path, capsys) -> None:
    write_manifest(tmp_path / "m.jsonl", [Utterance("a.wav", 1.0, "call home")])
    assert main(["bundle", "tune", str(tmp_path / "m.jsonl"), "-b", str(tiny_bundle)]) == 3
    assert "no language model" in capsys.readouterr().err


def test_bench_gives_costs_and_their_ratio(tiny_bundle, capsys) -> None:
    assert main(["bench", "-b", str(tiny_bundle), "--rounds", "1", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["torch_over_int8"] == pytest.approx(row["rtf_model_torch"] / row["rtf_model_int8"])
    assert row["streams_per_core"] == pytest.approx(1 / row["rtf"])
    assert 0 <= row["mean_posterior_difference"] < 0.1
    assert row["rtf_model_int8_by_32"] < row["rtf_model_int8"]  # a batch saves the small model's overhead
