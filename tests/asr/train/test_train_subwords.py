"""Subwords: learned, spelled and read back; trained, exported and decoded with a language model; gone on from."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asr import audio
from asr.bundle import find_bundle, load_bundle
from asr.config import load_config
from asr.corpus import Utterance, write_manifest
from asr.decode import Tokens
from asr.decode.lm_build import estimate, write_arpa
from asr.errors import ConfigError
from asr.train import checkpoint
from asr.train.config import CHARACTERS, TrainConfig
from asr.train.prepare import prepare
from asr.train.subwords import learn_subwords
from services.cli.main import main

TEXTS = ["don't call the caller", "what's the time", "the other time they called", "that's it then", "call them"]
ALPHABET = ("<blank>", " ", "a", "b", "c")
WORDS = ("ab", "abc", "cab", "cc", "bacca")
TONES_HZ = {"a": 400, "b": 900, "c": 1700}


@pytest.fixture(scope="module")
def learned() -> Tokens:
    return Tokens(learn_subwords(TEXTS, CHARACTERS, 48))


@given(text=st.text("abcdefghijklmnopqrstuvwxyz' "))
def test_every_text_is_spelled_and_read_back(learned: Tokens, text: str) -> None:
    ids = learned.encode(text)
    assert learned.decode(ids) == " ".join(text.split())
    assert 0 not in ids


def test_the_list_has_every_letter_and_the_size_that_was_asked_for(learned: Tokens) -> None:
    assert learned.symbols[:3] == ("<blank>", "▁", "'")
    assert set("'abcdefghijklmnopqrstuvwxyz") < set(learned.symbols)
    assert len(learned) == 48
    assert [learned.symbols[i] for i in learned.encode("the call")] == ["▁the", "▁call"]
    assert learn_subwords(TEXTS, CHARACTERS, 48) == learned.symbols


@pytest.mark.parametrize(
    ("size", "reason"), [(29, "29 are no more than the 29 characters"), (300, "5 training texts do not give 300")]
)
def test_impossible_sizes_are_refused(size: int, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        learn_subwords(TEXTS, CHARACTERS, size)


def spoken(text: str, seed: int) -> np.ndarray:
    """A tone of 80 ms per letter, and silence of 80 ms per space."""
    rng = np.random.default_rng(seed)
    t = np.arange(1280) / 16_000
    tones = [0.3 * np.sin(2 * np.pi * TONES_HZ.get(letter, 0) * t) for letter in text]
    samples = np.concatenate([np.zeros(800), *(np.concatenate([tone, np.zeros(640)]) for tone in tones)])
    return (samples + rng.normal(0, 0.001, len(samples))).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(48):
        text = " ".join(rng.choice(WORDS, rng.integers(1, 4)))
        audio.save(root / f"{i}.wav", spoken(text, i))
        rows.append(Utterance(f"{i}.wav", len(spoken(text, i)) / 16_000, text, id=str(i)))
    write_manifest(root / "train.jsonl", rows[:40])
    write_manifest(root / "dev.jsonl", rows[40:])
    write_arpa(estimate([row.text for row in rows], order=2), root / "lm.arpa")
    return root


def write_config(corpus: Path, path: Path, **changes) -> Path:
    config = {
        "name": "words",
        "data": {
            "train": [str(corpus / "train.jsonl")],
            "dev": [str(corpus / "dev.jsonl")],
            "batch_s": 6,
            "workers": 0,
        },
        "tokens": list(ALPHABET),
        "subwords": 10,
        "model": {
            "encoder": {"width": 32, "stride": 3, "chunk_frames": 4},
            "head": {"layers": 1, "width": 48, "look_ahead_frames": 6, "dropout": 0.0},
        },
        "optimizer": {"lr": 0.01, "encoder_lr": 0.01, "warmup_steps": 5},
        "spec_augment": {"time_masks": 0, "frequency_masks": 0},
        "max_steps": 75,
        "evaluate_every": 75,
        "average": 1,
        "threads": 1,
        **changes,
    }
    path.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return path


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subwords")
    config = write_config(corpus, folder / "c.yaml")
    assert main(["train", str(config), "-o", str(folder / "run"), "--mlflow", ""]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(corpus: Path, run: Path) -> Path:
    command = [
        "bundle",
        "build",
        str(run),
        "-o",
        str(run / "bundles"),
        "--lm",
        str(corpus / "lm.arpa"),
        "--alias",
        "it",
    ]
    assert main(command) == 0
    return find_bundle(run / "bundles" / "it")


def test_what_was_learned_is_kept_with_the_run_and_the_bundle(run: Path, bundle: Path) -> None:
    tokens = checkpoint.load(run / checkpoint.FINAL)["tokens"]
    assert len(tokens) == 10
    assert tokens[:5] == ["<blank>", "▁", "a", "b", "c"]
    assert yaml.safe_load((run / "config.yaml").read_text())["tokens"] == tokens
    assert load_bundle(bundle).tokens.symbols == tuple(tokens)


def test_a_model_of_subwords_is_decoded_with_beam_and_language_model(
    corpus: Path, run: Path, bundle: Path, capsys
) -> None:
    last = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
    assert last["wer"] < 0.2
    rows = [json.loads(line) for line in (corpus / "dev.jsonl").read_text().splitlines()]
    files = [str(corpus / row["audio_filepath"]) for row in rows]
    assert main(["transcribe", *files, "--bundle", str(bundle), "--json"]) == 0
    heard = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    right = sum(text == row["text"] for text, row in zip(heard, rows, strict=True))
    assert right >= 0.75 * len(rows)
    assert set(" ".join(heard).split()) <= set(WORDS)


def test_a_training_goes_on_from_a_run_or_bundle_with_its_subwords(
    corpus: Path, run: Path, bundle: Path, tmp_path
) -> None:
    tokens = tuple(checkpoint.load(run / checkpoint.FINAL)["tokens"])
    for source in (run, bundle, run / checkpoint.LAST):
        changes = {"tokens": None, "subwords": None, "init_from": str(source), "distil": {"teacher": str(bundle)}}
        config = load_config(TrainConfig, write_config(corpus, tmp_path / "on.yaml", **changes))
        trainer = prepare(config, tmp_path / source.name).trainer
        assert trainer.config.tokens == tokens
        assert trainer.position.step == 0
    again = load_config(TrainConfig, write_config(corpus, tmp_path / "c.yaml"))
    assert prepare(again, run).trainer.position.step == 75
    grown = dataclasses.replace(again, data=dataclasses.replace(again.data, train=(str(corpus / "dev.jsonl"),)))
    assert prepare(grown, run).trainer.config.tokens == tokens


@pytest.mark.parametrize("subwords", [9, 0])
def test_another_list_than_that_of_the_model_is_refused(corpus: Path, bundle: Path, tmp_path, subwords: int) -> None:
    changes = {"subwords": subwords, "init_from": str(bundle)}
    config = load_config(TrainConfig, write_config(corpus, tmp_path / "c.yaml", **changes))
    with pytest.raises(ConfigError, match=r"tokens: .* has 10, and not those that are asked for"):
        prepare(config, tmp_path / "run")
    encoder_only = dataclasses.replace(config, init_parts=("encoder.",))
    assert len(prepare(encoder_only, tmp_path / "run").trainer.config.tokens) == (subwords or len(ALPHABET))
