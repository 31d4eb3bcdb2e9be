"""Configuration of a set of experiments."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from asr.config import load_config, make_config
from asr.errors import ConfigError
from asr.train.config import TrainConfig

_STRICT = ConfigDict(extra="forbid")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, config=_STRICT)
class TrialConfig:
    """One experiment: what it changes in the base.

    Attributes:
        name: of the trial and its folder.
        set: dotted key of the training configuration -> value.
    """

    name: str
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class EvaluationSet:
    """What every trial's final model is measured on, beside its own dev set.

    Attributes:
        manifests: utterances.
        utterances: about so many of them, spread evenly.
        augment: YAML of `asr.augment.AugmentConfig`, or empty for none.
        snr_db: SNR of the augmentation's noise in place of what the YAML says.
        noise: folder of noise files for the augmentation, or empty.
    """

    manifests: tuple[str, ...]
    utterances: PositiveInt = 120
    augment: str = ""
    snr_db: float | None = None
    noise: str = ""


@dataclass(frozen=True, config=_STRICT)
class Parameter:
    """What a search may choose: one of ``choices``, or a number from ``low`` to ``high``."""

    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False


@dataclass(frozen=True, config=_STRICT)
class SearchConfig:
    """A search by Optuna.

    Attributes:
        parameters: dotted key of the training configuration -> what it may be.
        trials: how many.
        sampler: ``tpe`` (Bergstra et al. 2011) or ``random``.
        seed: of the sampler.
        pruner: ``median`` stops a trial whose dev figure is worse than the median of the others at the same step.
        warmup_steps: steps before a trial may be stopped.
        startup_trials: finished trials before one may be stopped, and before TPE looks at them.
    """

    parameters: dict[str, Parameter]
    trials: PositiveInt = 20
    sampler: Literal["tpe", "random"] = "tpe"
    seed: NonNegativeInt = 0
    pruner: Literal["none", "median"] = "none"
    warmup_steps: NonNegativeInt = 0
    startup_trials: PositiveInt = 5


@dataclass(frozen=True, config=_STRICT)
class TuneConfig:
    """A set of experiments on one base.

    Attributes:
        name: of the set.
        base: training configuration, a mapping or the path of its YAML.
        set: what all trials change in the base, the budget for instance (``max_steps`` or ``max_minutes``).
        trials: named experiments; the first one is what the table compares the others with.
        search: experiments that Optuna chooses, after the named ones.
        evaluate: name -> what final models are measured on.
        objective: figure on the trial's dev set that a search makes small.
    """

    name: str
    base: str | dict[str, Any]
    set: dict[str, Any] = field(default_factory=dict)
    trials: tuple[TrialConfig, ...] = ()
    search: SearchConfig | None = None
    evaluate: dict[str, EvaluationSet] = field(default_factory=dict)
    objective: Literal["loss", "wer", "cer"] = "loss"


def load_tune_config(path: str | Path, overrides: tuple[str, ...] = ()) -> TuneConfig:
    """Reads a set of experiments and checks every named trial's training configuration.

    Raises:
        ConfigError: unreadable, an unknown key, a name twice, a trial that is no training configuration.
    """
    config = load_config(TuneConfig, path, overrides)
    names = [trial.name for trial in config.trials]
    for name in names:
        if not _NAME.fullmatch(name) or name.startswith("search-"):
            raise ConfigError(
                f"{path}: trial {name!r}: a name has a-z, 0-9, '.', '_', '-', and does not begin with search-"
            )
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two trials are called {name!r}")
    if not config.trials and config.search is None:
        raise ConfigError(f"{path}: holds neither trials nor a search")
    for key, parameter in (config.search.parameters if config.search else {}).items():
        ranged = parameter.low is not None and parameter.high is not None and parameter.low < parameter.high
        if bool(parameter.choices) == ranged or (parameter.log and (parameter.low or 0) <= 0):
            raise ConfigError(f"{path}: search.parameters.{key}: give choices, or low < high (above 0 for log)")
    for trial in config.trials:
        train_config(config, trial)
    return config


def train_config(config: TuneConfig, trial: TrialConfig) -> TrainConfig:
    """The training configuration of one trial; raises `ConfigError`."""
    where = f"trial {trial.name!r} of {config.name}"
    if isinstance(config.base, str):
        base = Path(config.base)
        try:
            raw = yaml.safe_load(base.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"base: {base} cannot be read ({error.strerror or error})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"base: {base} is not YAML ({' '.join(str(error).split())})") from error
    else:
        raw = copy.deepcopy(config.base)
    changes = {**config.set, **trial.set, "name": f"{config.name}-{trial.name}"}
    overrides = tuple(f"{key}={json.dumps(value)}" for key, value in changes.items())
    return make_config(TrainConfig, raw, where, overrides)
