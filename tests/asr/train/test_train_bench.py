"""What `dengar bench train` counts and compares."""

import json
from pathlib import Path

import pytest
import torch

from asr.corpus import read_manifest
from asr.model.acoustic import AcousticModel
from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
from asr.model.whisper import Attention
from asr.train.bench import Products, _masked, count_operations, make_corpus
from services.cli.main import main


def test_operations_are_those_of_the_layers_formulas() -> None:
    """Convolutions, linear layers, LSTM and attention by hand; the backward pass costs twice the forward one, less the
    gradient towards the input."""
    n, frames, width, tokens, left, chunk = 2, 40, 24, 10, 8, 8
    model = AcousticModel(
        ModelConfig(
            encoder=EncoderConfig(
                kind="whisper", width=width, heads=2, layers=1, stride=2, chunk_frames=chunk, left_context_frames=left
            ),
            head=HeadConfig(layers=1, width=width, look_ahead_frames=0),
        ),
        tokens,
    ).train()
    mel = torch.randn(n, 2 * frames, 80)
    with count_operations() as operations:
        output = model(mel, torch.tensor([2 * frames] * n))
        forward = operations()
        output.log_probs.sum().backward()
        both = operations()
    first = (
        2 * n * (2 * frames + 1) * 3 * 80 * width
    )  # the first convolution makes one frame more than twice the second
    rows = n * frames
    second = 2 * rows * 3 * width * width
    linear = 2 * rows * (4 * width * width + 8 * width * width + width * tokens)
    lstm = 2 * rows * 8 * width * width
    attention = 2 * 2 * n * frames * frames * width  # 40 frames are less than a block: all pairs
    assert forward == first + second + linear + lstm + attention
    assert both == 3 * forward - first


def test_the_plain_loops_attention_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    attention, x = Attention(16, 2), torch.randn(2, 50, 16)
    torch.testing.assert_close(_masked(attention, x, 8, 12), attention.chunked(x, 8, 12), atol=1e-5, rtol=1e-4)


def test_the_matrix_rate_is_that_of_a_machine() -> None:
    products = Products(torch.float32, torch.device("cpu"))
    products.run(0.05)
    assert 1e8 < products.rate < 1e15


def test_made_up_speech_has_the_lengths_of_real_speech(tmp_path: Path) -> None:
    manifest = read_manifest(make_corpus(tmp_path, 60, 16.0))
    lengths = sorted(one.duration for one in manifest.utterances)
    assert 3.5 < lengths[30] < 5.5
    assert lengths[-1] <= 16.0
    characters = sum(len(one.text) for one in manifest.utterances)
    assert 10 < characters / manifest.duration_s < 14


def test_bench_train_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "model.encoder={kind: whisper, width: 32, layers: 1, heads: 2, stride: 2, chunk_frames: 10}",
        "model.head={layers: 1, width: 32, look_ahead_frames: 0}",
        "data.workers=0",
        "data.batch_s=40",
    ]
    overrides = [part for setting in small for part in ("--set", setting)]
    assert main(["bench", "train", "--seconds", "1", "--json", *overrides]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["ratio_to_plain"] == pytest.approx(row["audio_per_s"] / row["plain_audio_per_s"])
    assert 0 < row["matrix_share"] < 1
    assert row["padding_share"] < row["plain_padding_share"]
    assert sum(row["parts"].values()) == pytest.approx(1.0)
    assert {"data", "encoder", "head", "loss", "head backward", "encoder backward", "optimizer"} <= set(row["parts"])
