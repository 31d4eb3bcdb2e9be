"""Trials chosen by Optuna (Akiba et al. 2019), kept in an SQLite file so that a search goes on after a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial, Trial, TrialState

from asr.tune.config import Parameter, SearchConfig, TrialConfig
from asr.tune.run import Row

_FINISHED = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)


class Search:
    """See `asr.tune.run.Chooser`.

    The sampler of trial n is seeded by the search's seed and n, so that a resumed search chooses what an
    uninterrupted one chooses, as long as trials finish in the same order (one job at a time).
    """

    def __init__(self, config: SearchConfig, folder: Path, objective: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._config, self._objective = config, objective
        self.total = config.trials
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if config.pruner == "median":
            pruner = optuna.pruners.MedianPruner(config.startup_trials, config.warmup_steps)
        self._study = optuna.create_study(
            storage=f"sqlite:///{(folder / 'study.db').resolve()}",
            study_name="dengar",
            load_if_exists=True,
            direction="minimize",
            pruner=pruner,
        )
        unfinished = [t for t in self._study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
        self._continued = [Trial(self._study, trial._trial_id) for trial in unfinished]
        self._open: dict[str, Trial] = {}

    def next(self) -> TrialConfig | None:
        """The next trial: first those that a crash interrupted, then new ones; None when there are enough."""
        if self._continued:
            trial = self._continued.pop(0)
        elif len(self._study.get_trials(deepcopy=False)) >= self.total:
            return None
        else:
            self._study.sampler = self._sampler(len(self._study.get_trials(deepcopy=False)))
            trial = self._study.ask()
        name = _name(trial.number)
        self._open[name] = trial
        return TrialConfig(name, self._chosen(trial))

    def prune(self, name: str, losses: dict[int, float]) -> bool:
        """Whether to stop a trial, after its figures on dev so far: step -> figure."""
        trial = self._open[name]
        known = self._study.get_trials(deepcopy=False)[trial.number].intermediate_values
        for step, value in losses.items():
            if step not in known:
                trial.report(value, step)
        return self._config.pruner != "none" and bool(losses) and trial.should_prune()

    def tell(self, row: Row) -> None:
        trial = self._open.pop(row.name)
        if row.result is not None:
            self._study.tell(trial, row.result["dev"][self._objective])
        else:
            trial.set_user_attr("failure", row.failure)
            pruned = row.failure.startswith("pruned")
            self._study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def finished(self) -> list[TrialConfig]:
        """Trials that earlier runs finished."""
        trials = self._study.get_trials(deepcopy=False, states=_FINISHED)
        return [TrialConfig(_name(trial.number), self._chosen(trial)) for trial in trials]

    def _chosen(self, trial: BaseTrial) -> dict[str, Any]:
        return {key: _suggest(trial, key, parameter) for key, parameter in self._config.parameters.items()}

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = self._config.seed * 10_007 + number
        if self._config.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._config.startup_trials)


def _name(number: int) -> str:
    return f"search-{number:03d}"


def _suggest(trial: BaseTrial, key: str, parameter: Parameter) -> Any:
    if parameter.choices:
        # Optuna stores numbers, strings and None; a list goes by its place.
        place = trial.suggest_categorical(key, tuple(range(len(parameter.choices))))
        return parameter.choices[place]
    low, high = parameter.low or 0.0, parameter.high or 0.0
    if parameter.integer:
        return trial.suggest_int(key, int(low), int(high), log=parameter.log)
    return trial.suggest_float(key, low, high, log=parameter.log)
