"""Real runs of a small model on made-up speech: learning, resuming after kill -9, two processes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from asr import audio
from asr.bundle import build_bundle, load_bundle
from asr.config import load_config
from asr.corpus import AudioReader, Utterance, read_manifest, write_manifest
from asr.decode import DecoderConfig
from asr.errors import TrainingError
from asr.recognize import Recognizer
from asr.train import checkpoint
from asr.train.config import TrainConfig
from asr.train.loop import Progress
from asr.train.prepare import prepare
from services.cli.main import main

TONES_HZ = {"a": 400, "b": 900, "c": 1700}


def spoken(text: str, seed: int) -> np.ndarray:
    """A tone of 80 ms per letter over a little noise: speech enough for a small model."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(0, 0.001, 800)]
    for letter in text:
        t = np.arange(1280) / 16_000
        parts += [0.3 * np.sin(2 * np.pi * TONES_HZ[letter] * t), np.zeros(640)]
    samples = np.concatenate(parts)
    return (samples + rng.normal(0, 0.001, len(samples))).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(48):
        text = "".join(rng.choice(list("abc"), rng.integers(2, 6)))
        samples = spoken(text, i)
        audio.save(root / f"{i}.wav", samples)
        rows.append(Utterance(f"{i}.wav", len(samples) / 16_000, text, id=str(i)))
    write_manifest(root / "train.jsonl", rows[:40])
    write_manifest(root / "dev.jsonl", rows[40:])
    return root


def write_config(corpus: Path, path: Path, **changes) -> Path:
    config = {
        "name": "tones",
        "data": {
            "train": [str(corpus / "train.jsonl")],
            "dev": [str(corpus / "dev.jsonl")],
            "batch_s": 6,
            "workers": 0,
        },
        "tokens": ["<blank>", " ", "a", "b", "c"],
        "model": {
            "encoder": {"width": 24, "stride": 3, "chunk_frames": 4},
            "head": {"layers": 1, "width": 32, "look_ahead_frames": 2, "dropout": 0.1},
        },
        "optimizer": {"lr": 0.01, "encoder_lr": 0.01, "warmup_steps": 5},
        "spec_augment": {"time_masks": 0, "frequency_masks": 1, "frequency_bands": 4},
        "max_steps": 12,
        "evaluate_every": 4,
        "average": 2,
        "threads": 1,
        **changes,
    }
    path.write_text(yaml.safe_dump(config))
    return path


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows]


def command(config: Path, out: Path) -> list[str]:
    return ["-m", "services.cli.main", "train", str(config), "-o", str(out), "--mlflow", ""]


def test_a_small_model_learns(corpus: Path, tmp_path: Path, capsys) -> None:
    config = write_config(corpus, tmp_path / "c.yaml", max_steps=150, evaluate_every=50)
    assert main(["train", str(config), "-o", str(tmp_path / "run"), "--mlflow", "", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["cer"] < 0.1
    assert result["steps"] == 150
    assert len(checkpoint.step_files(tmp_path / "run")) == 2
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["max_steps"] == 150


def test_a_run_killed_halfway_gives_the_losses_of_an_uninterrupted_one(corpus: Path, tmp_path: Path) -> None:
    config = write_config(corpus, tmp_path / "c.yaml", max_steps=40)
    assert main(["train", str(config), "-o", str(tmp_path / "whole"), "--mlflow", ""]) == 0

    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, *command(config, killed)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / checkpoint.LAST).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = losses(killed)
    assert 4 < len(before) < len(losses(tmp_path / "whole"))

    assert main(["train", str(config), "-o", str(killed), "--mlflow", ""]) == 0
    assert losses(killed) == losses(tmp_path / "whole")
    final = [checkpoint.load(folder / checkpoint.FINAL)["model"] for folder in (killed, tmp_path / "whole")]
    assert all(torch.equal(final[0][name], final[1][name]) for name in final[0])


def test_a_teacher_and_two_views_resume_to_the_same_losses(corpus: Path, tmp_path: Path) -> None:
    """The student hears a teacher of half its frame rate; the run stops behind a checkpoint and goes on."""
    teacher = write_config(corpus, tmp_path / "t.yaml", max_steps=4)
    assert main(["train", str(teacher), "-o", str(tmp_path / "teacher"), "--mlflow", ""]) == 0
    changes = {
        "model": {
            "encoder": {"width": 16, "stride": 6, "chunk_frames": 2},
            "head": {"layers": 1, "width": 16, "look_ahead_frames": 1},
        },
        "distil": {"teacher": str(tmp_path / "teacher"), "weight": 0.5},
        "consistency_weight": 0.2,
    }
    config = write_config(corpus, tmp_path / "c.yaml", **changes)
    assert main(["train", str(config), "-o", str(tmp_path / "whole"), "--mlflow", ""]) == 0

    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 6:
            raise StopError

    with pytest.raises(StopError):
        prepare(load_config(TrainConfig, config), tmp_path / "stopped", report=stop).trainer.run()
    assert len(losses(tmp_path / "stopped")) < len(losses(tmp_path / "whole"))
    assert main(["train", str(config), "-o", str(tmp_path / "stopped"), "--mlflow", ""]) == 0
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


@pytest.mark.parametrize(
    "encoder",
    [
        {"kind": "conv", "width": 24, "stride": 3, "chunk_frames": 4},
        {
            "kind": "whisper",
            "width": 24,
            "heads": 2,
            "layers": 2,
            "stride": 2,
            "chunk_frames": 8,
            "left_context_frames": 16,
        },
    ],
    ids=lambda encoder: encoder["kind"],
)
def test_both_encoders_train_export_and_stream_through_the_same_code(corpus: Path, tmp_path: Path, encoder) -> None:
    model = {"encoder": encoder, "head": {"layers": 1, "width": 24, "look_ahead_frames": 2, "dropout": 0.0}}
    config = write_config(corpus, tmp_path / "c.yaml", max_steps=2, evaluate_every=2, average=1, model=model)
    run = tmp_path / "run"
    assert main(["train", str(config), "-o", str(run), "--mlflow", ""]) == 0
    state = checkpoint.load(run / checkpoint.FINAL)
    state["model"]["head.output.bias"][0] -= 5  # so that it says something after two steps
    checkpoint.save(run / checkpoint.FINAL, state)
    bundle = load_bundle(build_bundle(run, tmp_path / "bundles", decoder=DecoderConfig(beam_width=4)))
    assert bundle.model.encoder.kind == encoder["kind"]
    recognizer = Recognizer(bundle)
    assert 0 < recognizer.bundle.engine().geometry.look_ahead_s < 1
    samples = np.concatenate([spoken("abcab", 1), spoken("ccba", 2)])
    heard = []
    for packet in (400, 1_600, 5_000, len(samples)):
        stream = recognizer.stream()
        for start in range(0, len(samples), packet):
            stream.accept(samples[start : start + packet])
        heard.append([(word.word, word.start_s, word.confidence) for word in stream.finish()[0].words])
    assert heard[0]
    assert all(words == heard[0] for words in heard)


def test_frozen_weights_stay_and_the_others_learn(corpus: Path, tmp_path: Path) -> None:
    optimizer = {
        "lr": 0.01,
        "encoder_lr": 0.01,
        "warmup_steps": 1,
        "freeze": ["encoder.conv", "head.cells.0.weight_hh"],
    }
    config = write_config(corpus, tmp_path / "c.yaml", max_steps=3, evaluate_every=3, average=1, optimizer=optimizer)
    trainer = prepare(load_config(TrainConfig, config), tmp_path / "run").trainer
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.run()
    same = {name for name, value in trainer.model.state_dict().items() if torch.equal(value, before[name])}
    assert same == {"encoder.conv.weight", "encoder.conv.bias", "head.cells.0.weight_hh_l0"}


def test_what_is_held_out_is_never_trained_on_and_can_be_read_from_the_run(
    corpus: Path, tmp_path: Path, capsys
) -> None:
    config = write_config(corpus, tmp_path / "c.yaml", max_steps=2, evaluate_every=2, average=1)
    run = tmp_path / "run"
    command = ["train", str(config), "-o", str(run), "--set", "data.held_out_share=0.2", "--mlflow", "", "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == 2
    held_out, sample = (read_manifest(run / name) for name in ("held-out.jsonl", "trained-on.jsonl"))
    assert f"held out of the training: {len(held_out.utterances)} utterances" in captured.err
    everything = read_manifest(corpus / "train.jsonl")
    away, near = ({row.id for row in manifest.utterances} for manifest in (held_out, sample))
    assert 0 < held_out.duration_s <= 0.2 * everything.duration_s
    assert 0 < sample.duration_s <= held_out.duration_s
    assert not away & near
    prepared = prepare(load_config(TrainConfig, config, ("data.held_out_share=0.2",)), tmp_path / "again")
    trained = {item.utterance.id for item in prepared.train}
    assert near < trained
    assert trained | away == {row.id for row in everything.utterances}
    assert not trained & away
    hours = sum(item.utterance.duration for item in prepared.train) / 3600
    assert json.loads((run / "data.json").read_text()) == {"hours": {"": pytest.approx(hours, abs=1e-4)}}
    by_id = {row.id: row for row in everything.utterances}
    for manifest in (held_out, sample):
        row = manifest.utterances[0]
        original = AudioReader(corpus).read(by_id[row.id])
        assert np.array_equal(AudioReader(manifest.root).read(row), original)


def test_two_processes_learn_what_one_learns(corpus: Path, tmp_path: Path) -> None:
    """The gradient of two gloo processes over half batches is that of one process over whole ones."""
    changes = {
        "model": {
            "encoder": {"width": 24, "stride": 3, "chunk_frames": 4},
            "head": {"layers": 1, "width": 32, "dropout": 0.0},
        }
    }
    changes["spec_augment"] = {"time_masks": 0, "frequency_masks": 0}
    single = write_config(corpus, tmp_path / "one.yaml", max_steps=6, evaluate_every=3, **changes)
    assert main(["train", str(single), "-o", str(tmp_path / "one"), "--mlflow", ""]) == 0
    data = {"train": [str(corpus / "train.jsonl")], "dev": [str(corpus / "dev.jsonl")], "batch_s": 3, "workers": 0}
    double = write_config(corpus, tmp_path / "two.yaml", max_steps=6, evaluate_every=3, data=data, **changes)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*launch, *command(double, tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=2e-3)


def test_early_stop_and_mlflow(corpus: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    frozen = {"lr": 1e-9, "encoder_lr": 1e-9, "warmup_steps": 1, "weight_decay": 0.0}
    changes = {"max_steps": 60, "evaluate_every": 2, "patience": 2, "optimizer": frozen}
    config = write_config(corpus, tmp_path / "c.yaml", **changes)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert main(["train", str(config), "-o", str(tmp_path / "run"), "--mlflow", uri]) == 0
    assert checkpoint.load(tmp_path / "run" / checkpoint.FINAL)["steps"] < 60
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("dengar")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["seed"] == "1"
    assert "dev_wer" in run.data.metrics
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_stepz": 3}, "max_stepz"),
        ({"max_steps": -1}, "max_steps"),
        ({"tokens": ["<blank>", "z"]}, "no symbol separates words"),
        ({"tokens": ["<blank>", " ", "z"]}, "no utterance is left"),
        ({"subwords": 500}, "40 training texts do not give 500"),
    ],
)
def test_bad_configurations_are_one_clear_line(corpus: Path, tmp_path: Path, capsys, change, message) -> None:
    config = write_config(corpus, tmp_path / "c.yaml", **change)
    assert main(["train", str(config), "-o", str(tmp_path / "run"), "--mlflow", ""]) in (2, 5)
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_corrupt_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(TrainingError, match=r"last\.pt"):
        checkpoint.load(tmp_path / "last.pt")


def test_the_average_is_the_mean(tmp_path: Path) -> None:
    for step, value in ((1, 1.0), (2, 3.0), (3, 5.0)):
        checkpoint.save_step(tmp_path, step, {"w": torch.tensor([value]), "n": torch.tensor(step)}, keep=2)
    files = checkpoint.step_files(tmp_path)
    assert [file.name for file in files] == ["step-0000002.pt", "step-0000003.pt"]
    averaged = checkpoint.average(files)
    assert averaged["w"].item() == 4.0
    assert averaged["n"].item() == 3


def test_noise_reserved_for_testing_is_left_out_and_said(corpus: Path, tmp_path: Path) -> None:
    for name in ("street", "storm"):
        audio.save(
            tmp_path / "noise" / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
        )
    preset = Path("data/augment/car.yaml")
    config = yaml.safe_load(write_config(corpus, tmp_path / "c.yaml", max_steps=2, evaluate_every=2).read_text())
    config["data"].update(augment=str(preset), noise=str(tmp_path / "noise"))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", str(tmp_path / "c.yaml"), "-o", str(tmp_path / "run"), "--mlflow", ""]) == 0
    assert (tmp_path / "run" / "problems.txt").read_text().splitlines() == ["storm.wav: noise reserved for testing"]


def test_an_intermediate_layer_joins_a_model_that_had_none(tiny_run: Path) -> None:
    """It starts afresh beside the given weights, gives posteriors in training only, and may be left behind again."""
    import torch

    from asr.config import make_config
    from asr.model.acoustic import AcousticModel
    from asr.model.config import ModelConfig
    from asr.model.pretrained import load_weights
    from asr.train import checkpoint

    saved = checkpoint.load(tiny_run / checkpoint.FINAL)
    plain = make_config(ModelConfig, saved["model_config"], "tiny")
    model = AcousticModel(dataclasses.replace(plain, intermediate=True), len(saved["tokens"]))
    load_weights(model, tiny_run)
    assert torch.equal(model.head.output.weight, saved["model"]["head.output.weight"])
    mel, lengths = torch.zeros(2, 40, 80), torch.tensor([40, 31])
    trained = model.train()(mel, lengths)
    assert trained.intermediate is not None
    assert trained.intermediate.shape == trained.log_probs.shape
    assert model.eval()(mel, lengths).intermediate is None
    checkpoint.save(tiny_run.with_name("wide.pt"), {"model": model.state_dict()})
    load_weights(AcousticModel(plain, len(saved["tokens"])), tiny_run.with_name("wide.pt"))
