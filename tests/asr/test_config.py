import dataclasses

import pytest

from asr.config import config_to_yaml, load_config, make_config
from asr.errors import ConfigError
from asr.model.config import ModelConfig


def test_what_is_saved_reads_back(tmp_path) -> None:
    config = make_config(ModelConfig, {"head": {"layers": 2}}, "test", ("encoder.width=64",))
    assert (config.head.layers, config.encoder.width) == (2, 64)
    (tmp_path / "c.yaml").write_text(config_to_yaml(config))
    assert load_config(ModelConfig, tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("raw", "overrides", "message"),
    [
        ({"head": {"layerz": 2}}, (), "layerz.*known keys: cell, layers"),
        ({"head": {"layers": -2}}, (), "head.layers"),
        ({"head": {"cell": "rnn"}}, (), "head.cell"),
        ([], (), "mapping"),
        ({}, ("head.layers",), "key=value"),
        ({"encoder": {"pretrained": "$NOT_SET_ANYWHERE/x"}}, (), "NOT_SET_ANYWHERE"),
    ],
)
def test_mistakes_are_named(raw, overrides, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(ModelConfig, raw, "test.yaml", overrides)


def test_unreadable_files_are_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="gone"):
        load_config(ModelConfig, tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(ModelConfig, tmp_path / "bad.yaml")


def test_a_variable_that_is_not_set_may_be_left_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.delenv("DENGAR_NOWHERE", raising=False)
    monkeypatch.setenv("DENGAR_SOMEWHERE", "here")

    @dataclasses.dataclass(frozen=True)
    class Paths:
        a: str
        b: str

    path = tmp_path / "paths.yaml"
    path.write_text("{a: $DENGAR_NOWHERE/x, b: $DENGAR_SOMEWHERE/y}")
    with pytest.raises(ConfigError, match="DENGAR_NOWHERE, which is not set"):
        load_config(Paths, path)
    assert load_config(Paths, path, keep_unset=True) == Paths("$DENGAR_NOWHERE/x", "here/y")
