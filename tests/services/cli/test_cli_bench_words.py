"""`dengar bench words` with an untrained model: words leave the language model and come back, whatever is heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr.bundle import build_bundle, load_bundle
from asr.corpus.manifest import Utterance, write_manifest
from asr.decode import DecoderConfig
from asr.decode.lm_build import estimate, write_arpa
from asr.learn.casting import Line
from asr.learn.synthesis import speak_all
from services.cli.main import main

SENTENCES = ["call my mother", "who is it", "play some jazz", "call hilda", "a mosaic"]
SPOKEN = ["call hilda", "play the mosaic", "hilda saw a mosaic", "who is it", "play some jazz"]
LEARN = (
    "synthesis.cast=[{engine: espeak, speed: [1.2, 1.4]}]",
    "synthesis.utterances_per_name=1",
    "synthesis.jobs=1",
    "synthesis.format=wav",
    "extension.sentences=60",
    "tune.steps=2",
    "tune.batch_s=4",
    "tune.augment=''",
    "tune.precision=float32",
    "tune.workers=0",
    "tune.evaluate_every=1",
)


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    """A language model's texts, recordings with two words that the training transcripts lack, and a bundle."""
    (tmp_path / "read.txt").write_text("\n".join(SENTENCES) + "\n")
    (tmp_path / "recipe.yaml").write_text("order: 2\nsources: [{name: read, file: read.txt, licence: CC0}]\n")
    write_arpa(estimate(SENTENCES, order=2), tmp_path / "lm.arpa.gz")
    lines = [Line("", text, text, "train", "espeak:en-us+f2", 1.3, 1.0, 1.0) for text in SPOKEN]
    rows = speak_all(lines, tmp_path, format_="wav")
    write_manifest(tmp_path / "dev.jsonl", [*rows, Utterance("gone.wav", 1.0, "call hilda", id="gone")])
    write_manifest(tmp_path / "train.jsonl", rows[3:])
    (tmp_path / "names.txt").write_text("Hilda\n")
    bundle = build_bundle(
        tiny_run, tmp_path / "shipped", decoder=DecoderConfig(beam_width=4), lm=tmp_path / "lm.arpa.gz"
    )
    (tmp_path / "bundle").symlink_to(bundle)
    return tmp_path


def command(folder: Path, *options: str) -> list[str]:
    paths = ["--train", str(folder / "train.jsonl"), "--texts", str(folder), "--recipe", str(folder / "recipe.yaml")]
    paths += ["--names", str(folder / "names.txt"), "-b", str(folder / "bundle"), "--work", str(folder / "work")]
    learn = [f"--learn-set={setting}" for setting in (*LEARN, f"replay.corpora=[{{manifest: {folder}/train.jsonl}}]")]
    paths += ["--posteriors", str(folder / "heard"), f"--learn-set=replay.dev=[{folder}/dev.jsonl]", *learn]
    return ["bench", "words", str(folder / "dev.jsonl"), *paths, *options]


def test_words_are_taken_away_and_learned_in_every_way(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "results" / "words.json"
    assert main(command(folder, "-n", "2", "--every", "2", "--out", str(out), "--json")) == 0
    told, err = capsys.readouterr()
    found = json.loads(told)
    assert json.loads(out.read_text()) == found
    assert [(row["word"], row["name"], row["known"], row["spoken"]) for row in found["words"]] == [
        ("hilda", True, True, 3),
        ("mosaic", False, True, 2),
    ]
    assert found["counts"] == {"words": 2, "names": 1, "in_lexicon": 2, "spoken": 5}
    assert (found["utterances"], found["utterances_with_words"]) == (5, 3)
    assert found["language_model"]["left_out"]["holds a held-out word"] == 2
    assert "gone.wav" in err
    assert any("gone.wav" in reason for reason in found["left_out"])

    rows = {row["condition"]: row for row in found["conditions"]}
    assert [row["utterances"] for row in found["conditions"]] == [5, 5, 5, 5, 4, 5]
    assert {row["recall"]["all"]["spoken"] for row in rows.values()} == {4}
    assert rows["before"]["bundle"] == rows["at once: phrases, 3 nats"]["bundle"] == found["without"]
    assert rows["at once: phrases, 3 nats"]["boost"] == 3.0
    assert rows["for good: fine-tuned"]["steps"] == 2
    assert rows["for good: fine-tuned"]["data"] == {f"{folder}/train.jsonl": "corpus"}  # not the recordings
    assert rows["reference: the bundle as it is"]["bundle"] == found["base"]
    assert all("wer_elsewhere" in row["change"] for name, row in rows.items() if name != "before")

    base, before = load_bundle(folder / "bundle"), load_bundle(folder / "work" / "bundles" / found["without"][:12])
    assert {"hilda", "mosaic"} <= set(base.lexicon())
    assert not {"hilda", "mosaic"} & set(before.lexicon())
    assert before.decoder == base.decoder
    assert (before.path / "weights.safetensors").read_bytes() == (base.path / "weights.safetensors").read_bytes()
    for name in ("for good: language model", "for good: fine-tuned"):
        learned = load_bundle(folder / "work" / "bundles" / rows[name]["bundle"][:12])
        assert {"hilda", "mosaic"} <= set(learned.lexicon())

    assert main(command(folder, "-n", "2", "--no-fine-tune", "--boost", "2,4")) == 0
    shown = capsys.readouterr().out
    assert "2 words (1 names; 2 of all in the bundle's lexicon), spoken 5 times in 3 of 5 recordings" in shown
    assert "reference" in shown
    assert "at once: phrases, 2 nats" in shown
    assert main(command(folder, "--boost", "2,much")) == 2
    assert "--boost 2,much" in capsys.readouterr().err


def test_too_many_words_are_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(folder, "-n", "3", "--no-fine-tune")) == 2
    assert "only 2" in capsys.readouterr().err
