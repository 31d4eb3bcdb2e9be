"""`dengar data augment` from the outside."""

import json

import numpy as np
import pytest
import soundfile

from asr.corpus.manifest import Utterance, read_manifest, write_manifest
from services.cli.main import main

RATE_HZ = 16_000


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for index in range(4):
        samples = 0.1 * rng.standard_normal(RATE_HZ) * np.repeat([0, 1, 1, 0], RATE_HZ // 4)
        soundfile.write(tmp_path / f"u{index}.wav", samples, RATE_HZ)
        rows.append(Utterance(f"u{index}.wav", 1.0, f"word <{index}>", id=f"corpus/{index}", speaker="s"))
    write_manifest(tmp_path / "in.jsonl", rows)
    (tmp_path / "quick.yaml").write_text("noise: {probability: 1, snr_db: 10}\ncabin: {clips: 3, clip_s: 2}\n")
    return tmp_path


def test_files_manifest_and_page(corpus, capsys):
    out = corpus / "car"
    assert main(["data", "augment", str(corpus / "in.jsonl"), "-o", str(out), "--seed", "4", "--snr", "5",
                 "-c", str(corpus / "quick.yaml"), "--compare", "--items", "2", "--json"]) == 0  # fmt: skip
    figures = json.loads(capsys.readouterr().out)
    assert figures["utterances"] == 4
    assert figures["noise"] == {"cabin": 4}
    written = read_manifest(out / "manifest.jsonl")
    assert [utterance.id for utterance in written.utterances] == [f"corpus/{index}" for index in range(4)]
    for utterance in written.utterances:
        assert utterance.augmentation["snr_db"] == 5.0
        assert utterance.augmentation["seed"] == 4
        assert soundfile.info(out / utterance.audio_filepath).frames == RATE_HZ
    page = (out / "compare.html").read_text()
    assert page.count("<audio") == 4
    assert page.count("data:image/png;base64,") == 8
    assert "word &lt;2&gt;" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_same_seed_writes_the_same_files(corpus):
    def run(name, seed):
        arguments = ["data", "augment", str(corpus / "in.jsonl"), "-o", str(corpus / name), "--seed", seed]
        assert main([*arguments, "-c", str(corpus / "quick.yaml"), "--copies", "2"]) == 0
        return {path.name: path.read_bytes() for path in (corpus / name / "audio").iterdir()}

    first, second, other = run("a", "1"), run("b", "1"), run("c", "2")
    assert len(first) == 8
    assert first == second
    assert first != other


def test_a_bad_file_is_reported_and_the_others_are_done(corpus, capsys):
    (corpus / "u1.wav").write_bytes(b"this is not audio")
    (corpus / "u2.wav").unlink()
    with (corpus / "in.jsonl").open("a") as file:
        file.write("{broken\n")
    arguments = ["data", "augment", str(corpus / "in.jsonl"), "-o", str(corpus / "out"), "--json"]
    assert main([*arguments, "-c", str(corpus / "quick.yaml")]) == 2
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["utterances"] == 2
    assert len(figures["left_out"]) == 3
    assert captured.err.count("left out") == 3
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "nonsense"], "no such configuration"),
        (["--noise", "nowhere"], "no noise files"),
        (["--rooms", "nowhere"], "no impulse responses"),
        (["--format", "doc"], "format 'doc' is unknown"),
        (["-o", "."], "choose another folder"),
    ],
)
def test_wrong_use_is_one_clear_line(corpus, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(corpus)
    assert main(["data", "augment", "in.jsonl", "-o", "out", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert message in lines[0]


def test_noise_reserved_for_testing_is_left_out_and_counted(corpus, capsys):
    noise = corpus / "noise"
    noise.mkdir()
    for name in ("storm", "kitchen"):
        soundfile.write(noise / f"{name}.wav", 0.1 * np.random.default_rng(2).standard_normal(RATE_HZ), RATE_HZ)
    (corpus / "files.yaml").write_text("noise: {probability: 1, kinds: {files: 1}}\n")
    arguments = ["data", "augment", str(corpus / "in.jsonl"), "-o", str(corpus / "out"), "--noise", str(noise)]
    assert main([*arguments, "-c", str(corpus / "files.yaml"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["heldout_noise_files"] == 1
    assert "reserved for testing" in captured.err
    heard = {row.augmentation["noise"] for row in read_manifest(corpus / "out" / "manifest.jsonl").utterances}
    assert heard == {"file:kitchen"}
