"""What augmentation does, how often and how strongly; read from YAML such as ``data/augment/car.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from asr.errors import ConfigError

DATA = Path(__file__).parents[2] / "data"
PRESETS = DATA / "augment"


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first value must not exceed the second")
    return value


Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
NoiseKind = Literal["cabin", "files", "babble"]
ChannelKind = Literal["microphone", "telephone", "mulaw", "gsm", "g722", "mp3", "opus", "aac"]
RoomKind = Literal["car", "home", "files"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpeedConfig(_Section):
    """Speed (tempo and pitch together); each factor is equally likely. 1.1 is faster and shorter."""

    probability: Probability = 0.0
    factors: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = (0.9, 1.0, 1.1)


class RoomConfig(_Section):
    """Reverberation from a bank of `rooms` impulse responses, computed once each."""

    probability: Probability = 0.0
    rooms: Annotated[int, Field(ge=1, le=1000)] = 64
    kinds: dict[RoomKind, Annotated[float, Field(ge=0.0)]] = {"car": 1.0}


class SnrBand(_Section):
    """A range of SNRs, drawn uniformly within, and its share among the bands."""

    range_db: Range
    weight: Annotated[float, Field(gt=0.0)] = 1.0


class NoiseConfig(_Section):
    """Additive noise.

    Attributes:
        snr_db: one SNR, or bands of them.
        kinds: relative frequency of the sources: a synthetic cabin, the user's noise files, other voices.
        files: glob patterns on the noise files' stems; all that are allowed if empty.
        heldout: what to do with the files reserved for testing: leave out, use only them, or use all.
            Synthetic clips follow: ``only`` makes other ones than training ever meets, whatever the seed.
    """

    probability: Probability = 0.0
    snr_db: Annotated[float, Field(ge=-30.0, le=60.0)] | tuple[SnrBand, ...] = 10.0
    kinds: dict[NoiseKind, Annotated[float, Field(ge=0.0)]] = {"cabin": 1.0}
    files: tuple[str, ...] = ()
    heldout: Literal["exclude", "only", "include"] = "exclude"


class CabinConfig(_Section):
    """The bank of synthetic cabins: ranges from which each clip's drive is drawn.

    Attributes:
        clips: size of the bank; each clip is made when first needed, then kept.
        clip_s: length of each; clips are seamless loops.
    """

    clips: Annotated[int, Field(ge=1, le=1000)] = 64
    clip_s: Annotated[float, Field(ge=2.0, le=120.0)] = 20.0
    speed_kmh: Range = (0.0, 140.0)
    electric_probability: Probability = 0.15
    window_open_probability: Probability = 0.1
    fan_probability: Probability = 0.6
    rain_probability: Probability = 0.15
    indicator_probability: Probability = 0.15
    babble_probability: Probability = 0.0
    music_probability: Probability = 0.0


class ChannelConfig(_Section):
    """Microphone, telephone band and codecs; at most one `kinds` entry per utterance."""

    probability: Probability = 0.0
    kinds: dict[ChannelKind, Annotated[float, Field(ge=0.0)]] = {"microphone": 1.0}


class GainConfig(_Section):
    """Level change, cut where it would clip."""

    probability: Probability = 0.0
    range_db: Range = (-25.0, 10.0)


class AugmentConfig(_Section):
    """All effects in the order in which they are applied; an effect left out does nothing."""

    speed: SpeedConfig = SpeedConfig()
    room: RoomConfig = RoomConfig()
    noise: NoiseConfig = NoiseConfig()
    cabin: CabinConfig = CabinConfig()
    channel: ChannelConfig = ChannelConfig()
    gain: GainConfig = GainConfig()

    @model_validator(mode="after")
    def _something_to_choose(self) -> Self:
        for name, section in (("room", self.room), ("noise", self.noise), ("channel", self.channel)):
            if section.probability > 0 and sum(section.kinds.values()) <= 0:
                raise ValueError(f"{name}.kinds needs at least one kind with a weight above 0")
        if self.speed.probability > 0 and not self.speed.factors:
            raise ValueError("speed.factors needs at least one factor")
        if self.noise.probability > 0 and self.noise.snr_db == ():
            raise ValueError("noise.snr_db needs a number or at least one band")
        return self

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "augmentation config") -> AugmentConfig:
        """Validates `values`; raises `ConfigError` naming the first wrong key and what it would take."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the whole"
            raise ConfigError(f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}") from error

    @classmethod
    def load(cls, path: str | Path) -> AugmentConfig:
        """Reads a YAML file; a bare name such as ``car`` or ``car.yaml`` that is no file here means a preset.

        Raises:
            ConfigError: no such file, not YAML, or a wrong value.
        """
        found = Path(path)
        if not found.is_file() and found.name == str(path):
            found = PRESETS / found.with_suffix(".yaml").name
        try:
            values = yaml.safe_load(found.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            names = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
            raise ConfigError(f"{path}: no such configuration; give a YAML file or a preset ({names})") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{found}: is not YAML ({' '.join(str(error).split())})") from error
        if not isinstance(values, dict | None):
            raise ConfigError(f"{found}: must hold a mapping of effects, found {type(values).__name__}")
        return cls.from_dict(values or {}, str(found))

    @classmethod
    def noise_at_snr(
        cls,
        snr_db: float,
        *,
        kind: NoiseKind = "cabin",
        files: tuple[str, ...] = (),
        heldout: Literal["exclude", "only", "include"] = "only",
    ) -> AugmentConfig:
        """One rung of the evaluation ladder: every utterance gets noise of one kind at exactly `snr_db`, nothing else.

        Args:
            snr_db: the ratio.
            kind: the synthetic cabin, or noise files.
            files: glob patterns on the stems of the noise files.
            heldout: by default only files reserved for testing are used.
        """
        noise = {"probability": 1.0, "snr_db": snr_db, "kinds": {kind: 1.0}, "files": files, "heldout": heldout}
        return cls.from_dict({"noise": noise}, "noise_at_snr")

    def with_snr(self, snr_db: float) -> AugmentConfig:
        """The same configuration with noise on every utterance at one SNR."""
        noise = {**self.noise.model_dump(), "probability": 1.0, "snr_db": snr_db}
        return AugmentConfig.from_dict({**self.model_dump(), "noise": noise}, "with_snr")

    def __str__(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
