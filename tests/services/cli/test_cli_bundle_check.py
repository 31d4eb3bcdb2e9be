import json
from pathlib import Path

import numpy as np
import pytest

from asr import audio
from asr.bundle import CARD, load_bundle
from asr.corpus import Utterance, write_manifest
from asr.decode import DecoderConfig
from asr.decode.lm_build import estimate, write_arpa
from asr.evaluate import Results, ScoredUtterance
from services.cli.main import main


@pytest.fixture(scope="module")
def bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from asr.bundle import build_bundle

    folder = tmp_path_factory.mktemp("checked")
    write_arpa(estimate(["call the office", "call home"] * 3, order=2), folder / "lm.arpa")
    return build_bundle(tiny_run, folder, decoder=DecoderConfig(beam_width=2), lm=folder / "lm.arpa")


def test_check_prints_what_it_found_and_fails_beyond_the_limit(bundle, tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        audio.save(tmp_path / f"{name}.wav", rng.normal(0, 0.1, 8000).astype(np.float32))
    write_manifest(tmp_path / "m.jsonl", [Utterance(f"{name}.wav", 0.5, "call home", id=name) for name in "ab"])
    command = ["bundle", "check", str(tmp_path / "m.jsonl"), "-b", str(bundle), "--neighbours", "1"]
    assert main([*command, "--max-relative-wer", "9", "--json", "-o", str(tmp_path / "check.json")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row == json.loads((tmp_path / "check.json").read_text())
    assert (row["utterances"], row["beside_changed"], row["faults"]) == (2, 0, [])
    assert main([*command, "--every", "2", "--max-relative-wer", "9"]) == 0
    assert "beside 1 neighbours 30 dB louder: 0 of 1" in capsys.readouterr().out


def test_card_is_written_into_the_bundle_which_stays_the_same(bundle, tmp_path, capsys) -> None:
    item = ScoredUtterance(Utterance("a.wav", 1.0, "call home", id="a"), "call rome", audio_s=1.0, processor_s=0.1)
    Results((item,), (), {"bundle_hash": load_bundle(bundle).hash}).write(tmp_path / "quiet")
    (tmp_path / "notes.md").write_text("A note.")
    command = ["bundle", "card", str(bundle), "-r", str(tmp_path / "quiet"), "--notes", str(tmp_path / "notes.md")]
    assert main(command) == 0
    card = (bundle / CARD).read_text()
    assert "50.0 %" in card
    assert "A note." in card
    assert "vocabulary of 4 words" in card
    load_bundle(bundle)
    capsys.readouterr()
    assert main(["bundle", "card", str(bundle), "--check", str(tmp_path / "gone.json")]) == 2
    assert "gone.json" in capsys.readouterr().err


def test_lexicon_lists_the_words_and_show_counts_them(bundle, tiny_bundle, tmp_path, capsys) -> None:
    assert main(["bundle", "lexicon", str(bundle), "-o", str(tmp_path / "words.txt"), "--json"]) == 0
    words = json.loads(capsys.readouterr().out)
    assert words == ["call", "home", "office", "the"] == (tmp_path / "words.txt").read_text().split()
    assert main(["bundle", "show", str(bundle), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["lexicon"] == {"words": 4, "source": "lm.arpa"}
    assert shown["engine"]["independent_streams"] is True
    assert main(["bundle", "lexicon", str(tiny_bundle)]) == 3
    assert "no lexicon" in capsys.readouterr().err
