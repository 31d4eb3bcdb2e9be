"""Runs trials side by side; what was done before is not done again."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from asr.errors import TrainingError
from asr.train.config import TrainConfig
from asr.tune.config import EvaluationSet, TrialConfig, TuneConfig, train_config
from asr.tune.trial import read_result, run_trial, write_json, write_plan

POLL_S = 0.5


@dataclass(frozen=True)
class Row:
    """One trial of the table.

    Attributes:
        name: of the trial.
        set: what it changed.
        result: figures as `asr.tune.trial` writes them, or None without any.
        failure: why there are none, or empty; ``pruned ...`` where the search stopped it.
    """

    name: str
    set: dict[str, Any]
    result: dict[str, Any] | None
    failure: str = ""


@dataclass(frozen=True)
class Status:
    """What a display is told: trials done, all trials, and the steps of those that run."""

    done: int
    total: int
    running: dict[str, int]


class Chooser(Protocol):
    """Where the trials of a search come from; see `asr.tune.search`."""

    total: int

    def next(self) -> TrialConfig | None: ...
    def prune(self, name: str, losses: dict[int, float]) -> bool: ...
    def tell(self, row: Row) -> None: ...
    def finished(self) -> list[TrialConfig]: ...


@dataclass
class _Running:
    trial: TrialConfig
    folder: Path
    process: BaseProcess
    slot: int
    searched: bool
    pruned: bool = False


@dataclass
class Tuner:
    """All trials of a configuration in one folder.

    Args:
        config: what to try.
        folder: ``trials/NAME`` of each trial, and the search's database; a set found there is continued.
        jobs: trials at a time, each in a process of its own with as many threads as its ``threads`` says.
        report: told twice a second.
        finished: told of all rows so far after each trial.
    """

    config: TuneConfig
    folder: Path
    jobs: int = 1
    report: Callable[[Status], None] = lambda _: None
    finished: Callable[[list[Row]], object] = lambda _: None
    _running: list[_Running] = field(default_factory=list)
    _rows: dict[str, Row] = field(default_factory=dict)

    def run(self, chooser: Chooser | None = None) -> list[Row]:
        """Runs what is left to run; returns every trial in the order of the configuration.

        Raises:
            TrainingError: another process works in the folder, or a trial there has other settings.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder):
            waiting = [(trial, False) for trial in self.config.trials]
            for trial, _ in waiting:  # all plans first: a conflict shows before an hour of work
                self._plan(trial)
            for trial in chooser.finished() if chooser else []:
                result = read_result(self._folder(trial)) or {"error": "its folder is gone"}
                self._finished(trial, result, None)
            total = len(self.config.trials) + (chooser.total if chooser else 0)
            try:
                while True:
                    self._start(waiting, chooser)
                    if not self._running:
                        break
                    steps = {r.trial.name: _history(r.folder)[0] for r in self._running}
                    self.report(Status(len(self._rows), total, steps))
                    wait([r.process.sentinel for r in self._running], timeout=POLL_S)
                    self._collect(chooser)
            finally:
                for running in self._running:
                    running.process.kill()
                    running.process.join()
        return self._sorted()

    def _sorted(self) -> list[Row]:
        """The rows so far, in the order of the configuration and then of the search."""
        named = [trial.name for trial in self.config.trials if trial.name in self._rows]
        return [self._rows[name] for name in [*named, *sorted(set(self._rows) - set(named))]]

    def _folder(self, trial: TrialConfig) -> Path:
        return self.folder / "trials" / trial.name

    def _plan(self, trial: TrialConfig) -> TrainConfig:
        config = train_config(self.config, trial)
        sets: dict[str, EvaluationSet] = self.config.evaluate
        write_plan(self._folder(trial), config, sets)
        return config

    def _start(self, waiting: list[tuple[TrialConfig, bool]], chooser: Chooser | None) -> None:
        """Fills the free slots."""
        while len(self._running) < self.jobs:
            if waiting:
                trial, searched = waiting.pop(0)
            else:
                chosen = chooser.next() if chooser else None
                if chosen is None:
                    return
                trial, searched = chosen, True
            folder = self._folder(trial)
            config = self._plan(trial)
            result = read_result(folder)
            if result is not None:
                self._finished(trial, result, chooser if searched else None)
                continue
            slot = min(set(range(self.jobs)) - {r.slot for r in self._running})
            threads = max(1, config.threads)
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=run_trial, args=(folder, self._cores(slot, threads)))
            with _omp_threads(threads):
                process.start()
            self._running.append(_Running(trial, folder, process, slot, searched))

    def _cores(self, slot: int, threads: int) -> tuple[int, ...]:
        """The slot's own cores where there are enough for all slots; a thread that moves about is slower."""
        ours = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if self.jobs * threads > len(ours):
            return ()
        return tuple(ours[slot * threads : (slot + 1) * threads])

    def _collect(self, chooser: Chooser | None) -> None:
        for running in list(self._running):
            trial, process = running.trial, running.process
            result = read_result(running.folder)
            if process.is_alive():
                if result is None and running.searched and chooser and not running.pruned:
                    figures = _history(running.folder)[1]
                    objective = {step: row[self.config.objective] for step, row in figures.items()}
                    if chooser.prune(trial.name, objective):
                        running.pruned = True
                        process.kill()
                continue
            process.join()
            self._running.remove(running)
            if running.pruned:
                step = _history(running.folder)[0]
                result = {"error": f"pruned at step {step}: worse than the median of the others"}
                write_json(running.folder / "result.json", result)
            if result is None:  # not kept, so that the next run goes on with it
                code = process.exitcode or 0
                how = f"by signal {-code}" if code < 0 else f"with code {code}"
                self._rows[trial.name] = Row(trial.name, trial.set, None, f"its process was ended {how}; run again")
                continue
            self._finished(trial, result, chooser if running.searched else None)

    def _finished(self, trial: TrialConfig, result: dict[str, Any], chooser: Chooser | None) -> None:
        failure = result.get("error", "")
        row = Row(trial.name, trial.set, None if failure else result, failure)
        self._rows[trial.name] = row
        if chooser:
            chooser.tell(row)
        self.finished(self._sorted())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process at a time; the lock goes with the process, however it ends."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(f"{folder}: another dengar tune is at work here; wait for it or end it") from error
        yield


@contextmanager
def _omp_threads(threads: int) -> Iterator[None]:
    """For a process that starts meanwhile: OpenMP and BLAS read their number of threads once, as they are loaded."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _history(folder: Path) -> tuple[int, dict[int, dict[str, float]]]:
    """The last step of a run, and its evaluations by step."""
    path = folder / "history.jsonl"
    step, evaluations = 0, {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # being written
        step = max(step, int(row["step"]))
        if "wer" in row:
            evaluations[int(row["step"])] = row
    return step, evaluations
