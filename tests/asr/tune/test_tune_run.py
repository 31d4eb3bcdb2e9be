"""Real trials in real processes: the table, failures, a search, and going on after kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from asr.errors import ConfigError, TrainingError
from asr.train.bench import make_corpus
from asr.train.prepare import prepare
from asr.tune.config import Parameter, SearchConfig, load_tune_config, train_config
from asr.tune.run import Row, Tuner
from asr.tune.search import Search
from asr.tune.table import to_json, to_markdown
from asr.tune.trial import read_result, write_plan
from services.cli.main import main

TINY = {
    "encoder": {"width": 8, "stride": 4, "chunk_frames": 4},
    "head": {"layers": 1, "width": 8, "look_ahead_frames": 0},
}


def write(folder: Path, **changes) -> Path:
    corpus = folder / "corpus" / "manifest.jsonl"
    if not corpus.exists():
        make_corpus(corpus.parent, 8, 2.0)
    data = {"train": [str(corpus)], "dev": [str(corpus)], "batch_s": 8, "workers": 0, "dev_utterances": 2}
    base = {"name": "base", "data": data, "model": TINY, "max_steps": 4, "evaluate_every": 2, "threads": 1}
    config = {
        "name": "tiny",
        "base": base,
        "trials": [{"name": "first"}, {"name": "second", "set": {"subwords": 40}}],
        "evaluate": {"quiet": {"manifests": [str(corpus)], "utterances": 4}},
        **changes,
    }
    path = folder / "tune.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_trials_and_failures_stand_in_the_table_and_are_not_repeated(tmp_path: Path, capsys) -> None:
    lost = {"name": "lost", "set": {"data.augment": str(tmp_path / "nowhere.yaml")}}
    search = {"parameters": {"optimizer.lr": {"low": 0.001, "high": 0.1, "log": True}}, "trials": 1}
    path = write(tmp_path, trials=[{"name": "first"}, lost], search=search)
    command = ["tune", str(path), "-o", str(tmp_path / "out"), "--jobs", "2", "--json"]
    assert main(command) == 1
    captured = capsys.readouterr()
    table = json.loads(captured.out)
    first, failed, searched = table["trials"]
    assert searched["name"] == "search-000"
    assert searched["steps"] == 4
    assert 0.001 <= searched["set"]["optimizer.lr"] <= 0.1
    assert first["steps"] == 4
    assert first["audio_h"] > 0
    assert set(first["sets"]["quiet"]) == {"loss", "wer", "cer"}
    assert "nowhere.yaml" in failed["failure"]
    assert "trial lost failed" in captured.err.replace("\n", " ")
    markdown = (tmp_path / "out" / "table.md").read_text()
    assert "- lost: " in markdown
    assert "Traceback" not in markdown
    before = (tmp_path / "out" / "trials" / "first" / "result.json").stat().st_mtime_ns
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out) == table
    assert (tmp_path / "out" / "trials" / "first" / "result.json").stat().st_mtime_ns == before
    # The same name with other settings is another experiment.
    assert main([*command, "--set", "set.max_steps=6"]) == 5
    assert "other settings" in capsys.readouterr().err.replace("\n", " ")


def test_a_trial_killed_halfway_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Parent and trial end together by kill -9; the next run gives the losses of an uninterrupted one."""
    path = write(tmp_path, set={"max_steps": 120, "evaluate_every": 10}, trials=[{"name": "first"}], evaluate={})
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli.main", "tune", str(path), "-o", str(out)], stdout=subprocess.DEVNULL
    )
    folder = out / "trials" / "first"
    deadline = time.monotonic() + 300
    while not (folder / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(TrainingError, match="another dengar tune"):
        Tuner(load_tune_config(path), out).run()
    process.send_signal(signal.SIGKILL)
    process.wait()
    history = folder / "history.jsonl"
    while _grows(history):  # the kernel ends the trial with its parent
        assert time.monotonic() < deadline
    assert read_result(folder) is None
    interrupted = _losses(history)
    assert 10 <= len(interrupted) < 120

    config = load_tune_config(path)
    (row,) = Tuner(config, out).run()
    assert row.result is not None
    assert row.result["steps"] == 120
    whole = prepare(train_config(config, config.trials[0]), tmp_path / "whole").trainer.run()
    assert row.result["dev"] == whole.to_json()
    assert _losses(history) == _losses(tmp_path / "whole" / "history.jsonl")


def test_a_plan_of_an_earlier_version_counts_with_the_defaults_of_what_it_does_not_name(tmp_path: Path) -> None:
    config = load_tune_config(write(tmp_path))
    new = train_config(config, config.trials[0])
    write_plan(tmp_path / "trial", new, {})
    path = tmp_path / "trial" / "trial.json"
    plan = json.loads(path.read_text())
    del plan["config"]["data"]["held_out_share"]
    path.write_text(json.dumps(plan))
    write_plan(tmp_path / "trial", new, {})
    assert json.loads(path.read_text())["config"]["data"]["held_out_share"] == 0
    plan["config"]["data"]["batch_s"] = 9.0
    path.write_text(json.dumps(plan))
    with pytest.raises(TrainingError, match="other settings"):
        write_plan(tmp_path / "trial", new, {})


def _grows(path: Path) -> bool:
    size = path.stat().st_size
    time.sleep(0.3)
    return path.stat().st_size != size


def _losses(path: Path) -> list[float]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row["loss"] for row in rows if "epoch" in row]


def search_config(**changes) -> SearchConfig:
    parameters = {
        "optimizer.lr": Parameter(low=1e-4, high=1e-1, log=True),
        "model.head.layers": Parameter(low=1, high=3, integer=True),
        "chunk_frames": Parameter(choices=((4,), (4, 8))),
    }
    return SearchConfig(**{"parameters": parameters, "trials": 5, "seed": 3, **changes})


def told(name: str, loss: float) -> Row:
    return Row(name, {}, {"dev": {"loss": loss}})


def test_a_search_goes_on_where_it_was_and_chooses_the_same(tmp_path: Path) -> None:
    def run(folder: Path, interrupt: bool) -> list[dict]:
        search, chosen = Search(search_config(), folder, "loss"), []
        while True:
            trial = search.next()
            if trial is None:
                return chosen
            if interrupt and len(chosen) == 2:  # as after a crash: begun, not told
                search = Search(search_config(), folder, "loss")
                assert [one.name for one in search.finished()] == ["search-000", "search-001"]
                again = search.next()
                assert again == trial
            chosen.append(trial.set)
            search.tell(told(trial.name, trial.set["optimizer.lr"]))

    whole = run(tmp_path / "a", interrupt=False)
    assert len(whole) == 5
    assert run(tmp_path / "b", interrupt=True) == whole
    assert len({one["optimizer.lr"] for one in whole}) == 5
    assert all(1e-4 <= one["optimizer.lr"] <= 1e-1 and one["model.head.layers"] in (1, 2, 3) for one in whole)


def test_a_search_stops_what_is_worse_than_the_median(tmp_path: Path) -> None:
    search = Search(search_config(pruner="median", startup_trials=2), tmp_path, "loss")
    for loss in (1.0, 1.2):
        trial = search.next()
        assert trial is not None
        assert not search.prune(trial.name, {10: loss})
        search.tell(told(trial.name, loss))
    good, bad = search.next(), search.next()
    assert good is not None
    assert bad is not None
    assert not search.prune(good.name, {10: 0.9})
    assert search.prune(bad.name, {10: 5.0})
    search.tell(Row(bad.name, {}, None, "pruned at step 10: worse than the median of the others"))


def figures(errors: list[int]) -> dict:
    rows = [
        {"name": str(i), "loss": 1.0 + e, "word_errors": e, "words": 4, "character_errors": e, "characters": 20}
        for i, e in enumerate(errors)
    ]
    wer = sum(errors) / (4 * len(errors))
    one = {"loss": 1.0, "wer": wer, "cer": 0.1, "utterances": rows}
    dev = {"loss": 1.0, "wer": wer, "cer": 0.1}
    return {"dev": dev, "sets": {"quiet": one}, "steps": 9, "audio_h": 1.0, "minutes": 2.0, "cpu_minutes": 1.5}


def test_differences_are_paired_with_the_first_trial() -> None:
    better = [
        Row("a", {}, figures([2, 1] * 30)),
        Row("b", {"x": "p|q"}, figures([1, 1] * 30)),
        Row("c", {}, None, "why"),
    ]
    table = to_json(better, "t")
    middle, low, high = table["trials"][1]["sets"]["quiet"]["wer_difference"]
    assert middle == pytest.approx(-30 / 240)
    assert low < middle < high < 0
    assert "wer_difference" not in table["trials"][0]["sets"]["quiet"]
    lines = to_markdown(table).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")} == {11}
    assert "- c: why" in lines


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": [{"name": "a"}, {"name": "a"}]}, "two trials"),
        ({"trials": [{"name": "A b"}]}, "a name has"),
        ({"trials": []}, "neither trials nor a search"),
        ({"trials": [{"name": "a", "set": {"optimizer.lrr": 1}}]}, r"trial 'a'.*lrr"),
        ({"base": "nowhere.yaml"}, "nowhere.yaml"),
        ({"trialz": []}, "trialz"),
        ({"search": {"parameters": {"x": {"low": 2, "high": 1}}}}, r"parameters\.x"),
    ],
)
def test_bad_configurations_are_one_clear_line(tmp_path: Path, changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        load_tune_config(write(tmp_path, **changes))


def test_slots_have_cores_of_their_own_where_there_are_enough(tmp_path: Path) -> None:
    config = load_tune_config(write(tmp_path))
    ours = sorted(os.sched_getaffinity(0))
    assert Tuner(config, tmp_path, jobs=1)._cores(0, 1) == (ours[0],)
    assert Tuner(config, tmp_path, jobs=len(ours) + 1)._cores(0, 1) == ()
