"""What the tests share: deterministic properties, and a small random model in a real bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from hypothesis.internal.conjecture import providers

# Hypothesis mixes in constants that it finds in whatever modules happen to be loaded, so that a test's examples would
# depend on the tests before it: the same examples in every process and order need that off.
providers.is_local_module_file = lambda _path: False

settings.register_profile("dengar", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("dengar")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained model of both a convolution and two recurrent layers."""
    from asr.config import config_to_json
    from asr.model.acoustic import AcousticModel
    from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
    from asr.train import checkpoint
    from asr.train.config import CHARACTERS

    config = ModelConfig(
        encoder=EncoderConfig(kind="conv", width=32, stride=3, chunk_frames=4),
        head=HeadConfig(layers=2, width=32, look_ahead_frames=2),
    )
    torch.manual_seed(3)
    model = AcousticModel(config, len(CHARACTERS))
    # Louder weights than PyTorch's, so that the random model says many different things.
    for parameter in model.parameters():
        parameter.data.mul_(3.0)
    folder = tmp_path_factory.mktemp("tiny-run")
    checkpoint.save(
        folder / checkpoint.FINAL,
        {"model": model.state_dict(), "model_config": config_to_json(config), "tokens": list(CHARACTERS)},
    )
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of `tiny_run`: random words, but real files, exports and engines."""
    from asr.bundle import build_bundle
    from asr.decode import DecoderConfig

    return build_bundle(tiny_run, tmp_path_factory.mktemp("tiny-bundle"), decoder=DecoderConfig(beam_width=4))


@pytest.fixture(scope="session")
def other_bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with another decoder, and so another bundle."""
    from asr.bundle import build_bundle
    from asr.decode import DecoderConfig

    return build_bundle(tiny_run, tmp_path_factory.mktemp("other-bundle"), decoder=DecoderConfig(beam_width=6))
