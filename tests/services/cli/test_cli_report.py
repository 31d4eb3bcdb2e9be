"""`dengar report` on saved results and on manifests, with a real bundle of random weights."""

import json

import numpy as np
import pytest

from asr import audio
from asr.corpus.manifest import Utterance, write_manifest
from asr.decode import Word
from asr.evaluate import Results, ScoredUtterance
from asr.evaluate.findings import Findings
from services.cli.main import main

WORDS = ("play", "taylor", "swift", "navigate", "home", "weather")
CAR = {"noise": "cabin", "snr_db": 5.0}


def run(folder, rate, *, seed=0, bundle="a", corpus="test", **values):
    """Writes results in which words are missed at `rate`, a number or by corpus; `corpus` is one or a function."""
    rng = np.random.default_rng(seed)
    items = []
    for number in range(60):
        said = [str(word) for word in rng.choice(WORDS, 5)]
        kind = corpus(number) if callable(corpus) else corpus
        own = rate[kind] if isinstance(rate, dict) else rate
        heard = ["uh" if rng.random() < own else word for word in said]
        words = tuple(Word(word, i / 10, i / 10 + 0.1, 0.8) for i, word in enumerate(heard))
        utterance = Utterance(f"{number}.wav", 2.0, " ".join(said), corpus=kind, gender="fm"[number % 2], **values)
        items.append(ScoredUtterance(utterance, " ".join(heard), words, 0.8))
    settings = {"bundle": f"gone-{bundle}", "bundle_hash": bundle, "manifests": ["gone.jsonl"]}
    Results(tuple(items), settings=settings).write(folder)
    return str(folder)


@pytest.fixture
def report(capsys):
    """Runs the command; gives its exit code, its JSON and its messages."""

    def call(*arguments):
        code = main(["report", *map(str, arguments), "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return call


def test_the_ladder_is_built_from_folders_and_numbers(report, tmp_path):
    quiet = run(tmp_path / "quiet", 0.2)
    car = run(tmp_path / "car", 0.5, augmentation=CAR)
    train = run(tmp_path / "train", 0.05, seed=1)
    held = run(tmp_path / "held", 0.1, seed=2)
    references = ("--reference", "person=0.02", "--reference", "tiny.en offline=0.04")
    code, found, _ = report(quiet, car, "--train", train, "--train-dev", held, *references)
    assert code == 0
    comparison = found.pop("comparison")
    findings = Findings.from_json(found)
    assert comparison is None
    assert [rung.kind for rung in findings.ladder.rungs] == [
        "reference",
        "reference",
        "train",
        "train_dev",
        "dev",
        "car",
    ]
    assert findings.ladder.gaps[findings.ladder.largest].kind == "noise"
    assert findings.advice[0].rule == "noise"
    assert findings.evaluation.overall.utterances == 120
    assert {breakdown.name for breakdown in findings.breakdowns} >= {"names", "position", "snr", "length", "rate"}


def test_the_terminal_shows_every_gap_beside_a_long_name_and_says_what_was_weighed(tmp_path, capsys):
    rates = {"easy": 0.0, "hard": 0.5}
    train = run(tmp_path / "train", rates, corpus=lambda number: "hard" if number % 6 == 0 else "easy")
    test = run(tmp_path / "test", rates, seed=1, corpus=lambda number: "easy" if number % 6 == 0 else "hard")
    reference = "a reference system with a name longer than there is room for=0.25"
    assert main(["report", test, "--train", train, "--train-dev", test, "--reference", reference]) == 0
    ladder = capsys.readouterr().out.split(" ladder ")[1].split("Advice")[0]
    rows = {line.split("  ")[0].strip(): line for line in ladder.splitlines()}
    for name, gap in (("training error", "bias"), ("held-out error", "variance"), ("test in quiet", "mismatch")):
        assert gap in rows[name]
        assert "…" not in rows[name]
    assert "with corpora weighed alike; as they stand: bias -" in ladder
    assert "variance +" in ladder.split("as they stand")[1]


def test_two_runs_beside_each_other_and_the_page(tmp_path, capsys):
    a, b = run(tmp_path / "a", 0.5, bundle="a"), run(tmp_path / "b", 0.1, bundle="b")
    page = tmp_path / "out" / "report.html"
    assert main(["report", b, "--against", a, "-o", str(page)]) == 0
    out = capsys.readouterr().out
    for part in ("WER", "ladder", "Advice", "Fairness", "B - A", str(page)):
        assert part in out
    html = page.read_text(encoding="utf-8")
    assert html.lower().startswith("<!doctype html")
    assert 'src="http' not in html
    assert main(["report", b, "--against", a, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["comparison"]
    assert found["overall"]["wer_b"] < found["overall"]["wer_a"]
    assert found["overall"]["test"]["p_value"] < 0.05


def test_both_sides_may_be_several_folders(report, tmp_path):
    a, b = ([run(tmp_path / f"{name}-quiet", 0.4, bundle=name)] for name in "ab")
    a.append(run(tmp_path / "a-car", 0.8, bundle="a", augmentation=CAR))
    b.append(run(tmp_path / "b-car", 0.5, bundle="b", augmentation=CAR))
    _, one, _ = report(*b, "--against", a[0])
    _, both, _ = report(*b, "--against", a[0], "--against", a[1])
    assert one["comparison"]["overall"]["wer_a"] == one["comparison"]["overall"]["wer_b"]  # in quiet they are alike
    assert both["comparison"]["overall"]["wer_b"] < both["comparison"]["overall"]["wer_a"]
    assert both["comparison"]["overall"]["utterances"] == 2 * one["comparison"]["overall"]["utterances"]


def test_names_and_words_may_be_given(report, tmp_path):
    (tmp_path / "names.txt").write_text("Taylor Swift\n")
    (tmp_path / "words.txt").write_text("play\nhome\n")
    options = ("--names", tmp_path / "names.txt", "--vocabulary", tmp_path / "words.txt")
    _, found, _ = report(run(tmp_path / "run", 0.2), *options)
    assert {word["word"] for word in found["missed"] if word["name"]} <= {"taylor", "swift"}
    assert {word["word"]: word["known"] for word in found["missed"]}["home"] is True
    assert [group["group"] for group in found["breakdowns"][0]["groups"]] == ["known", "unknown"]


def test_manifests_are_heard_first(report, tiny_bundle, tmp_path):
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(2):
        audio.save(tmp_path / f"{number}.wav", (0.1 * rng.standard_normal(8000)).astype(np.float32))
        utterances.append(Utterance(f"{number}.wav", 0.5, "play some jazz"))
    write_manifest(tmp_path / "test.jsonl", utterances)
    arguments = [tmp_path / "test.jsonl", "--bundle", tiny_bundle, "--snr", "clean,0", "--against", tiny_bundle]
    code, found, _ = report(*arguments)
    assert code == 0
    assert [rung["utterances"] for rung in found["ladder"]["rungs"] if rung["kind"] in ("dev", "car")] == [2, 2]
    assert found["comparison"]["flips"] == []
    (tmp_path / "0.wav").unlink()
    code, found, _ = report(*arguments[:3])
    assert code == 1
    assert [problem["where"] for problem in found["evaluation"]["failed"]] == ["0.wav"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "tiny.en"], "--reference tiny.en: write a name and a rate"),
        (["--reference", "tiny.en=13"], "a rate from 0 to 1"),
        (["--against", "gone"], "gone: is no results folder"),
        (["--against", "OTHER", "--against", "gone"], "--against gone: is no results folder; of several"),
        (["OTHER"], "different bundles"),
        (["--names", "gone.txt"], "gone.txt: cannot be read as a list of names"),
        (["-o", "/dev/null/x/report.html"], "cannot be made a folder"),
    ],
)
def test_bad_input_is_one_clear_line(report, tmp_path, arguments, message):
    other = run(tmp_path / "other", 0.1, bundle="b")
    found = report(run(tmp_path / "run", 0.1), *[other if word == "OTHER" else word for word in arguments])
    assert found[:2] == (2, None)
    assert found[2].startswith("error: ")
    assert found[2].count("\n") == 1
    assert message in found[2]
