"""`dengar evaluate` and `dengar compare` with a real bundle of random weights."""

import base64
import json
import re

import numpy as np
import pytest

from asr import audio
from asr.corpus.manifest import Utterance, write_manifest
from asr.evaluate import Results
from services.cli.main import main

SCORES = ("wer", "cer", "ser")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Four recordings of sounds, two speakers."""
    folder = tmp_path_factory.mktemp("items")
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(4):
        time_s = np.arange(8000 + 1600 * number) / audio.SAMPLE_RATE_HZ
        tone = 0.2 * np.sin(2 * np.pi * (200 + 150 * number) * time_s) * (1 + np.sin(2 * np.pi * 4 * time_s))
        audio.save(folder / f"{number}.wav", (tone + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32))
        utterances.append(Utterance(f"{number}.wav", len(time_s) / 16_000, "play some jazz", speaker=f"s{number % 2}"))
    write_manifest(folder / "test.jsonl", utterances)
    return folder / "test.jsonl"


@pytest.fixture
def evaluate(tiny_bundle, capsys):
    """Runs the command with the tiny bundle; gives its exit code, its JSON and its messages."""

    def run(*arguments):
        code = main(["evaluate", "--bundle", str(tiny_bundle), "--json", *map(str, arguments)])
        captured = capsys.readouterr()
        assert captured.out.count("\n") == (1 if captured.out else 0)
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return run


def playable(html):
    """The decoded sounds of a report."""
    encoded = re.findall(r"\"(T2dnU[\w+/=]+)\"", html)  # base64 of Ogg's first bytes
    return {audio.decode(base64.b64decode(sound), "report").tobytes() for sound in encoded}


def test_prints_one_object_with_the_promised_keys(evaluate, manifest):
    code, found, _ = evaluate(manifest)
    assert code == 0
    assert found["utterances"] == 4
    assert all(isinstance(found[name], float) and found[name] >= 0 for name in SCORES)
    assert found["ser"] <= 1
    assert found["rtf"] > 0
    assert found["settings"]["mode"] == "streamed in 100 ms packets"
    assert len(found["settings"]["bundle_hash"]) == 64


def test_whole_files_and_other_packets_give_the_same_words(evaluate, manifest):
    streamed, whole, small = (
        evaluate(manifest)[1],
        evaluate(manifest, "--whole")[1],
        evaluate(manifest, "--packet-ms", 37)[1],
    )
    assert [streamed[name] for name in SCORES] == [whole[name] for name in SCORES] == [small[name] for name in SCORES]
    assert whole["settings"]["mode"] == "whole files"


def test_a_results_folder_holds_all_and_is_reported_on_again_without_the_bundle(evaluate, manifest, tmp_path, capsys):
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("play\np l ey\nsome s ah m\n")
    _, first, _ = evaluate(manifest, "-o", tmp_path / "run", "--snr", "clean,0")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "results.jsonl",
        "settings.json",
        "evaluation.json",
        "report.html",
    }
    assert first["utterances"] == 8
    assert {part["value"] for part in first["slices"] if part["dimension"] == "snr"} == {"clean", "0 dB"}
    html = (tmp_path / "run" / "report.html").read_text()
    sounds = playable(html)
    assert len(sounds) == 8  # clean and noisy differ
    arguments = ["evaluate", str(tmp_path / "run"), "--json", "--vocabulary", str(vocabulary)]
    assert main([*arguments, "-o", str(tmp_path / "again")]) == 0
    second = json.loads(capsys.readouterr().out)
    assert [second[name] for name in SCORES] == [first[name] for name in SCORES]
    assert second["unknown_words"]["count"] == 8
    assert playable((tmp_path / "again" / "report.html").read_text()) == sounds


def test_files_that_fail_are_listed_and_the_others_are_done(evaluate, manifest, tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "good.wav").write_bytes((manifest.parent / "0.wav").read_bytes())
    lines = [
        {"audio_filepath": f"{name}.wav", "duration": 1.0, "text": "play"} for name in ("empty", "text", "gone", "good")
    ]
    text = "\n".join([*map(json.dumps, lines), "{", '{"audio_filepath": "good.wav", "duration": 1, "text": ""}'])
    (tmp_path / "bad.jsonl").write_text(text)
    code, found, messages = evaluate(tmp_path / "bad.jsonl", manifest)
    assert code == 1
    assert found["utterances"] == 5
    assert [row["file"] for row in found["failed"]] == ["empty.wav", "text.wav", "gone.wav"]
    reasons = ["is empty", "not audio", "cannot be read"]
    assert all(reason in row["error"] for reason, row in zip(reasons, found["failed"], strict=True))
    assert [row["where"].rsplit("/")[-1] for row in found["left_out"]] == ["bad.jsonl:5", "good.wav"]
    assert "bad.jsonl:5: not a JSON object" in messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jsonl"], "cannot be read as a manifest"),
        (["MANIFEST", "--snr", "loud"], "--snr loud: write dB and 'clean'"),
        (["MANIFEST", "--snr", "5", "--noise", "jungle"], "noise"),
        (["MANIFEST", "--snr", "5", "--noise", "files"], "--noise-dir"),
        (["MANIFEST", "--packet-ms", "1"], "packet_ms"),
        (["MANIFEST", "--vocabulary", "gone.txt"], "gone.txt: cannot be read"),
        (["MANIFEST", "-o", "/dev/null/x"], "/dev/null/x: cannot be made a folder"),
    ],
)
def test_bad_input_is_one_clear_line(evaluate, manifest, arguments, message):
    code, found, messages = evaluate(*[str(manifest) if word == "MANIFEST" else word for word in arguments])
    assert (code, found) == (2, None)
    assert messages.startswith("error: ")
    assert messages.count("\n") == 1
    assert message in messages


def test_tables_for_people(tiny_bundle, manifest, capsys):
    assert main(["evaluate", "--bundle", str(tiny_bundle), str(manifest)]) == 0
    out = capsys.readouterr().out
    assert "WER %" in out
    assert "speaker" in out


def planted(tmp_path, manifest, evaluate):
    """Two results folders: what the bundle heard, and the same with every second item right."""
    evaluate(manifest, "-o", tmp_path / "a")
    a = Results.read(tmp_path / "a")
    items = [
        type(item)(item.utterance, item.utterance.text if i % 2 else item.hypothesis) for i, item in enumerate(a.items)
    ]
    Results(tuple(items)).write(tmp_path / "b")


def test_compare_reads_saved_results(evaluate, manifest, tmp_path, capsys):
    planted(tmp_path, manifest, evaluate)
    report = tmp_path / "out" / "compare.html"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json", "-o", str(report)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(flip["item"], flip["kind"]) for flip in found["flips"]] == [("1.wav", "fixed"), ("3.wav", "fixed")]
    assert found["wer_b"] < found["wer_a"]
    assert found["difference"] == pytest.approx(found["wer_b"] - found["wer_a"])
    assert {"p_value", "overall", "slices", "words", "left_out"} <= set(found)
    assert "Utterances that changed" in report.read_text()
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "fixed: 1.wav" in capsys.readouterr().out


def test_compare_runs_bundles_on_a_manifest(tiny_bundle, evaluate, manifest, tmp_path, capsys):
    evaluate(manifest, "-o", tmp_path / "a")
    assert main(["compare", str(tmp_path / "a"), str(tiny_bundle), "--manifest", str(manifest), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["difference"], found["flips"], found["overall"]["utterances"]) == (0.0, [], 4)
    assert main(["compare", str(tmp_path / "a"), str(tiny_bundle)]) == 2
    assert "add --manifest FILE" in capsys.readouterr().err
