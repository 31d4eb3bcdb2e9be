"""Learning names with a small real model: whole rounds, killed ones, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asr.bundle import build_bundle, load_bundle
from asr.corpus.manifest import read_manifest, write_manifest
from asr.decode import DecoderConfig
from asr.decode.lm_build import estimate, write_arpa
from asr.errors import BundleError, ConfigError, InputError
from asr.learn import LearnConfig, NewName, learn
from asr.learn.casting import Line
from asr.learn.config import CastConfig, ExtensionConfig, ReplayConfig, ReplaySource, SynthesisConfig, TuneConfig
from asr.learn.stages import write_whole
from asr.learn.synthesis import speak_all

NAMES = [NewName("unai emery"), NewName("zendaya", heard=("zen daya",))]


@pytest.fixture(scope="module")
def parent(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the untrained model, with a language model."""
    folder = tmp_path_factory.mktemp("parent")
    write_arpa(estimate(["call my mother", "who is it", "play some jazz"], order=2), folder / "lm.arpa.gz")
    return build_bundle(tiny_run, folder, decoder=DecoderConfig(beam_width=4), lm=folder / "lm.arpa.gz", notice="mine")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Old data: a few spoken sentences."""
    folder = tmp_path_factory.mktemp("old")
    texts = ["call my mother", "play some jazz", "who is it", "call my mother again"]
    lines = [Line("", t, t, "train", "espeak:en-us+f2", 1.3, 1.0, 1.0) for t in texts]
    write_manifest(folder / "old.jsonl", speak_all(lines, folder, format_="wav"))
    return folder / "old.jsonl"


def config_of(old: Path, **changes: object) -> LearnConfig:
    settings = {
        "seed": 3,
        "synthesis": SynthesisConfig(
            utterances_per_name=2, cast=(CastConfig("espeak", speed=(1.2, 1.4)),), jobs=1, format="wav"
        ),
        "extension": ExtensionConfig(sentences=60),
        "replay": ReplayConfig(corpora=(ReplaySource(str(old)),), dev=(str(old),), dev_utterances=2),
        "tune": TuneConfig(
            steps=4,
            max_minutes=0,
            batch_s=6,
            augment="",
            evaluate_every=2,
            precision="float32",
            workers=0,
            lr=1e-3,
            encoder_lr=1e-3,
        ),
    }
    return LearnConfig(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def learned(parent: Path, old: Path, tmp_path_factory: pytest.TempPathFactory):
    work = tmp_path_factory.mktemp("learned")
    torch.set_num_threads(1)
    return learn(parent, NAMES, config_of(old), work / "job", work / "bundles"), work


def test_a_round_gives_a_bundle_with_the_names_and_says_how(learned, parent: Path, old: Path) -> None:
    result, _ = learned
    before, after = load_bundle(parent), load_bundle(result.bundle)
    assert before.hash != after.hash
    assert {"unai", "emery", "zendaya"} <= set(after.lexicon())
    assert not {"unai", "emery", "zendaya"} & set(before.lexicon())
    assert result.names == result.all_names == ("unai emery", "zendaya")
    assert (result.utterances, result.steps, result.stopped) == (4, 4, "steps")
    assert result.data[str(old)] in ("corpus", "dev")
    assert result.replay_utterances == 4
    assert result.pronunciations == {"text": 5, "heard": 1}
    assert after.about["parent"] == before.hash
    assert after.about["seed"] == 3
    assert after.about["names"] == ["unai emery", "zendaya"]
    assert after.about["config"]["tune"]["steps"] == 4
    assert after.decoder == dataclasses.replace(before.decoder, beam_width=config_of(old).extension.beam_width)
    assert (after.path / "NOTICE").read_text() == "mine"
    assert (after.path / "weights.safetensors").read_bytes() != (before.path / "weights.safetensors").read_bytes()
    assert after.engine().geometry == before.engine().geometry


def test_what_is_spoken_names_every_draw_and_keeps_the_voices_for_measuring_out(learned) -> None:
    _, work = learned
    rows = [
        row
        for split in ("train", "dev")
        for row in read_manifest(work / "job" / "synthesis" / f"{split}.jsonl").utterances
    ]
    assert {row.text.count("unai emery") + row.text.count("zendaya") for row in rows} == {1}
    from asr.synth.voices import find

    assert {find(row.speaker).split for row in rows} == {"train", "dev"}
    assert sum("said=zen daya" in row.source for row in rows) == 1
    assert all("pronunciation=" in row.source and row.corpus == "names" for row in rows)


def test_a_finished_job_is_not_done_again(learned, parent: Path, old: Path) -> None:
    result, work = learned
    told: list[str] = []
    again = learn(parent, NAMES, config_of(old), work / "job", work / "bundles", lambda stage, _: told.append(stage))
    assert again == result
    assert not told


def test_a_work_folder_belongs_to_one_job(learned, parent: Path, old: Path) -> None:
    _, work = learned
    with pytest.raises(ConfigError, match="another"):
        learn(parent, NAMES[:1], config_of(old), work / "job", work / "bundles")


_CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_learn import NAMES, config_of
from asr.learn import learn
seen = []
def report(stage, share):
    seen.append(stage)
    if stage == {stage!r} and share >= {share!r}:
        os.kill(os.getpid(), signal.SIGKILL)
learn(Path({parent!r}), NAMES, config_of(Path({old!r})), Path({work!r}), Path({bundles!r}), report)
"""


@pytest.mark.parametrize(
    ("stage", "share"), [("synthesis", 0.5), ("extension", 1.0), ("training", 0.7), ("export", 0.0)]
)
def test_a_killed_job_goes_on_and_ends_with_the_same_bundle(
    learned, parent: Path, old: Path, tmp_path: Path, stage: str, share: float
) -> None:
    result, _ = learned
    job = tmp_path / "job"
    child = _CHILD.format(
        tests=str(Path(__file__).parent), stage=stage, share=share, parent=str(parent), old=str(old), work=str(job),
        bundles=str(tmp_path / "bundles"),
    )  # fmt: skip
    killed = subprocess.run([sys.executable, "-c", child], check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert not (job / "learned.json").exists()
    after = learn(parent, NAMES, config_of(old), job, tmp_path / "bundles")
    assert load_bundle(after.bundle).hash == load_bundle(result.bundle).hash
    assert not list(job.rglob("*.partial"))


def test_a_second_round_keeps_the_names_of_the_first(learned, old: Path, tmp_path: Path) -> None:
    result, _ = learned
    config = config_of(old, tune=TuneConfig(steps=0))
    again = learn(
        result.bundle, [NewName("bo kowalski"), NewName("zendaya", weight=2)], config, tmp_path / "job", tmp_path
    )
    found = load_bundle(again.bundle)
    names = found.learned_names()
    assert names is not None
    assert [(name.text, name.weight, name.round) for name in names.names] == [
        ("unai emery", 1.0, 1),
        ("zendaya", 2.0, 1),
        ("bo kowalski", 1.0, 2),
    ]
    assert {"emery", "kowalski"} <= set(found.lexicon())
    assert again.stopped == "not trained"
    assert again.all_names == ("unai emery", "zendaya", "bo kowalski")
    before = load_bundle(result.bundle)
    for name in ("weights.safetensors", "model.int8.onnx", "lm.arpa.gz"):
        assert (found.path / name).read_bytes() == (before.path / name).read_bytes()


def test_without_old_data_it_says_what_to_do(parent: Path, tmp_path: Path) -> None:
    config = config_of(
        tmp_path / "gone.jsonl", replay=ReplayConfig(corpora=(ReplaySource(str(tmp_path / "gone.jsonl")),))
    )
    with pytest.raises(ConfigError, match="replay"):
        learn(parent, NAMES[:1], config, tmp_path / "job", tmp_path / "bundles")


def test_names_are_given_once_and_a_bundle_is_needed(parent: Path, old: Path, tmp_path: Path) -> None:
    for names in ([], [NewName("a"), NewName("a")]):
        with pytest.raises(InputError, match="once"):
            learn(parent, names, config_of(old), tmp_path / "job", tmp_path)
    with pytest.raises(BundleError):
        learn(tmp_path, NAMES, config_of(old), tmp_path / "job", tmp_path)


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.json", "{}")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {}


def test_the_results_can_be_written_down(learned) -> None:
    result, _ = learned
    assert dataclasses.asdict(result)["left_out"] == ()
