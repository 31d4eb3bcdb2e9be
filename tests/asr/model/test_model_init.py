"""Which weights a model takes from another."""

from pathlib import Path

import pytest
import torch

from asr.errors import ConfigError
from asr.model.acoustic import AcousticModel
from asr.model.config import EncoderConfig, HeadConfig, ModelConfig
from asr.model.pretrained import load_weights
from asr.train import checkpoint


def model_of(layers: int, *, intermediate: bool = False) -> AcousticModel:
    encoder = EncoderConfig(width=8, stride=4)
    return AcousticModel(ModelConfig(encoder, HeadConfig(layers=layers, width=8), intermediate=intermediate), 4)


@pytest.mark.parametrize("intermediate", [False, True])
def test_the_encoder_alone_is_taken_under_another_head(tmp_path: Path, intermediate: bool) -> None:
    source, target = model_of(2, intermediate=True), model_of(1, intermediate=intermediate)
    checkpoint.save(tmp_path / "final.pt", {"model": source.state_dict()})
    before = {name: value.clone() for name, value in target.state_dict().items()}
    load_weights(target, tmp_path, ("encoder.",))
    for name, value in target.state_dict().items():
        expected = source.state_dict()[name] if name.startswith("encoder.") else before[name]
        assert torch.equal(value, expected), name


def test_all_weights_need_the_same_shape(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "final.pt", {"model": model_of(2).state_dict()})
    with pytest.raises(ConfigError, match="of another model"):
        load_weights(model_of(1), tmp_path)
