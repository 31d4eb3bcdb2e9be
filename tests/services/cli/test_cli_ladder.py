"""`dengar ladder` with a real bundle of random weights."""

import json

import numpy as np
import pytest

from asr import audio
from asr.corpus.manifest import Utterance, write_manifest
from services.cli.main import main


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder-items")
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(3):
        time_s = np.arange(16_000) / 16_000
        tone = 0.2 * np.sin(2 * np.pi * (200 + 150 * number) * time_s) * (1 + np.sin(2 * np.pi * 4 * time_s))
        audio.save(folder / f"{number}.wav", (tone + 0.01 * rng.standard_normal(16_000)).astype(np.float32))
        utterances.append(Utterance(f"{number}.wav", 1.0, "play some jazz", id=f"u{number}"))
    write_manifest(folder / "test.jsonl", utterances)
    return folder / "test.jsonl"


@pytest.fixture
def ladder(capsys):
    def run(*arguments):
        code = main(["ladder", "--json", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return run


def test_two_models_every_condition_and_nothing_heard_twice(ladder, tiny_bundle, manifest, tmp_path):
    arguments = [manifest, "-b", f"one={tiny_bundle}", "-b", f"two={tiny_bundle}", "--snr", "5", "-o", tmp_path / "out"]
    code, found, _ = ladder(*arguments)
    assert code == 0
    assert found["models"] == ["one", "two"]
    assert [rung["condition"] for rung in found["rungs"]] == [
        {"noise": "clean", "snr_db": None},
        {"noise": "cabin", "snr_db": 5.0},
    ]
    # The same bundle under two names: not one error more or less.
    assert all(rung["models"][1]["change"]["value"] in (0.0, None) for rung in found["rungs"])
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "ladder.json",
        "ladder.md",
        "ladder.svg",
        "ladder.html",
    }
    assert (tmp_path / "out" / "ladder.html").read_text().count("data:audio/ogg") == 6
    folders = sorted(path.parent.name for path in (tmp_path / "out").glob("*/*/results.jsonl"))
    assert folders == ["cabin-5-dB", "clean"]
    kept = next((tmp_path / "out").glob("*/clean/results.jsonl"))
    before = kept.stat().st_mtime_ns
    assert ladder(*arguments)[1] == found
    assert kept.stat().st_mtime_ns == before
    assert ladder(*arguments, "--every", 2)[1]["utterances"] == 2
    assert kept.stat().st_mtime_ns != before


def test_empty_sounds_alone(ladder, tiny_bundle, tmp_path):
    arguments = ["-b", tiny_bundle, "--empty", 0.01, "--stream-s", 1, "-o", tmp_path]
    code, found, _ = ladder(*arguments)
    assert code == 0
    (sounds,) = found["empty"].values()
    assert [sound["name"] for sound in sounds] == ["silence", "hiss", "hiss", *["cabin"] * 3, *["synthetic music"] * 3]
    for sound in sounds:
        assert sound["words_per_hour"]["value"] == pytest.approx(sound["words"] / sound["audio_s"] * 3600)
    assert "words/h" in (tmp_path / "empty.md").read_text()
    assert ladder(*arguments)[1] == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to hear"),
        (["{manifest}", "--snr", "loud"], "write dB between commas"),
        (["{manifest}", "--noise", "files"], "needs a folder"),
        (["{manifest}", "-b", "{bundle}", "-b", "{bundle}"], "two models are called"),
    ],
)
def test_mistakes_are_one_clear_line(ladder, tiny_bundle, manifest, tmp_path, arguments, message):
    filled = [argument.format(manifest=manifest, bundle=tiny_bundle) for argument in arguments]
    code, found, error = ladder(*filled, "-o", tmp_path)
    assert (code, found) == (2, None)
    assert message in error
    assert error.count("\n") == 1
