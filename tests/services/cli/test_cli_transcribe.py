import json

import numpy as np
import soundfile

from services.cli.main import main


def test_good_files_are_done_and_bad_ones_reported_in_their_place(tmp_path, tiny_bundle, capsys) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    soundfile.write(tmp_path / "good.wav", samples, 16_000)
    soundfile.write(tmp_path / "wide.flac", np.zeros((96_000, 6)), 96_000, subtype="PCM_24")
    (tmp_path / "text.wav").write_text("this is not audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    names = ["text.wav", "good.wav", "empty.wav", "wide.flac", "missing.wav", "good.wav"]
    files = [str(tmp_path / name) for name in names]

    assert main(["transcribe", *files, "--bundle", str(tiny_bundle), "--json", "--nbest", "3"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == files
    for row, name in zip(rows, names, strict=True):
        if name == "good.wav":
            assert row["text"] == " ".join(word["word"] for word in row["words"])
            assert 0 <= row["confidence"] <= 1
            assert all(0 <= word["start_s"] <= word["end_s"] <= 1.6 for word in row["words"])
            assert len(row["alternatives"]) == 2
        else:
            assert set(row) == {"file", "error"}
            assert name in row["error"]
    assert rows[1] == rows[5]


def test_streaming_and_whole_say_the_same(tmp_path, tiny_bundle, capsys) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 40_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    arguments = ["transcribe", str(tmp_path / "a.wav"), "--bundle", str(tiny_bundle), "--json"]
    assert main(arguments) == 0
    assert main([*arguments, "--whole"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert json.loads(first)["text"]
