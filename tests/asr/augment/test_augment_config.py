"""Configurations are checked, named in errors and printable."""

import pytest
import yaml

from asr.augment import AugmentConfig
from asr.augment.config import PRESETS
from asr.errors import ConfigError


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_presets_load_and_print_what_loads_again(preset):
    config = AugmentConfig.load(preset)
    assert AugmentConfig.from_dict(yaml.safe_load(str(config))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nose": {}}, "nose"),
        ({"noise": {"probability": 1.5}}, "noise.probability"),
        ({"noise": {"kinds": {"dragon": 1.0}}}, "noise.kinds.dragon"),
        ({"noise": {"probability": 1, "kinds": {}}}, "noise.kinds needs at least one"),
        ({"gain": {"range_db": [5, -5]}}, "gain.range_db"),
        ({"speed": {"probability": 1, "factors": []}}, "speed.factors"),
        ({"noise": {"probability": 1, "snr_db": []}}, "noise.snr_db"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        AugmentConfig.from_dict(values)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match=r"a preset \(car"):
        AugmentConfig.load("no-such-preset")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="mapping"):
        AugmentConfig.load(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("noise: {")
    with pytest.raises(ConfigError, match="not YAML"):
        AugmentConfig.load(tmp_path / "broken.yaml")


def test_with_snr_forces_noise_on_every_utterance():
    config = AugmentConfig.load("car").with_snr(3.0)
    assert (config.noise.probability, config.noise.snr_db) == (1.0, 3.0)
    assert config.room == AugmentConfig.load("car").room
