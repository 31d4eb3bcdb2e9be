"""The model card: what a bundle is, what it cost and how good it is, written from measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from asr.bundle import WEIGHTS, Bundle
from asr.errors import InputError
from asr.evaluate import Evaluation, Resampling, Results, SliceResult, evaluate
from asr.evaluate.slices import noise_condition
from asr.evaluate.statistics import MIN_UNITS
from asr.model.compact import shapes

SLICED = ("corpus", "gender", "age", "accent", "vocabulary", "length")
"""Dimensions whose slices stand in the card."""

QUIET = "quiet"
HARD = 0.25
"""Word error rate above which a corpus is named among the limits."""


@validated(frozen=True, config={"extra": "ignore"})
class TrainingRun:
    """One step of a bundle's training, as an experiment's JSON records it; what is not known is None or empty.

    Attributes:
        config: its configuration or name.
        command: that ran it.
        commit, seed: of the code and the draws.
        steps: of the optimiser.
        epochs: passes over the data.
        audio_h: hours of different audio that it heard.
        hours: of recordings by corpus, before augmentation.
        minutes: on the clock.
        threads: of the processor.
        machine: in words.
        dev_greedy_wer: fraction, without language model.
    """

    config: str
    command: str = ""
    commit: str = ""
    seed: int | None = None
    steps: int | None = None
    epochs: float | None = None
    audio_h: float | None = None
    hours: dict[str, float] = field(default_factory=dict)
    minutes: float | None = None
    threads: int | None = None
    machine: str = ""
    dev_greedy_wer: float | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One noise condition of a test: "quiet", or the noise and its SNR."""

    condition: str
    evaluation: Evaluation

    def corpora(self) -> dict[str, SliceResult]:
        """Its rates by corpus."""
        return {part.value: part for part in self.evaluation.slices if part.dimension == "corpus"}


@dataclass(frozen=True)
class Measured:
    """One results folder as the card shows it.

    Attributes:
        name: of the folder.
        rungs: its conditions, quiet first, then as heard.
        settings: how the run was made.
    """

    name: str
    rungs: tuple[Rung, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def quiet(self) -> Evaluation | None:
        return next((rung.evaluation for rung in self.rungs if rung.condition == QUIET), None)


def measure(
    name: str, results: Results, vocabulary: frozenset[str] | None = None, resampling: Resampling | None = None
) -> Measured:
    """Evaluates each noise condition of a run for itself, by `asr.evaluate.evaluate`."""
    groups: dict[str, list[Any]] = {}
    for item in results.items:
        groups.setdefault(str(noise_condition(item.utterance.augmentation) or QUIET), []).append(item)
    order = sorted(groups, key=lambda condition: condition != QUIET)
    rungs = [
        Rung(
            condition,
            evaluate(replace(results, items=tuple(groups[condition])), vocabulary=vocabulary, resampling=resampling),
        )
        for condition in order
    ]
    return Measured(name, tuple(rungs), results.settings)


def calibration_error(evaluation: Evaluation) -> float | None:
    """Expected calibration error of the word confidences (Naeini et al. 2015); None where there is none."""
    total = sum(bin_.count for bin_ in evaluation.calibration)
    if not total:
        return None
    return sum(bin_.count * abs(bin_.confidence - bin_.accuracy) for bin_ in evaluation.calibration) / total


def read_training(path: Path) -> list[TrainingRun]:
    """Training steps from a run's folder, or from an experiment's JSON: an object with ``training``, a list of them.

    Raises:
        InputError: neither.
    """
    if path.is_dir():
        return [_run_folder(path)]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["training"] if isinstance(content, dict) else content
        return TypeAdapter(list[TrainingRun]).validate_python(rows)
    except (OSError, ValueError, KeyError, ValidationError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: is no JSON with a list of training runs under 'training' ({why})") from error


def model_card(
    bundle: Bundle,
    measured: Sequence[Measured],
    training: Sequence[TrainingRun] = (),
    *,
    check: Mapping[str, Any] | None = None,
    notes: str = "",
) -> str:
    """The card as Markdown.

    Args:
        bundle: what it describes.
        measured: results of this bundle, the first quiet one for slices and calibration, all for the noise ladder.
        training: the steps that led to it.
        check: what `dengar bundle check --json` printed, to state int8 against float.
        notes: Markdown of a person, put first: what no measurement knows.

    Raises:
        InputError: results of another bundle.
    """
    for run in measured:
        hash_ = run.settings.get("bundle_hash", bundle.hash)
        if hash_ != bundle.hash:
            raise InputError(
                f"{run.name}: holds results of bundle {str(hash_)[:12]}, not of {bundle.name}; evaluate this bundle"
            )
    quiet = next((run.quiet for run in measured if run.quiet is not None), None)
    slices = [part for part in quiet.slices if part.dimension in SLICED] if quiet else []
    lm = bundle.language_model()
    notice = bundle.path / "NOTICE"
    geometry = bundle.engine().geometry
    card: str = _template().render(
        bundle=bundle,
        title=bundle.about.get("run") or bundle.name,
        parameters=_parameters(bundle.path / WEIGHTS),
        size_mb=sum(path.stat().st_size for path in bundle.path.iterdir() if path.is_file()) / 1e6,
        arithmetic=bundle.engine().arithmetic,
        geometry=geometry,
        chunk_ms=geometry.chunk_frames * geometry.frame_s * 1000,
        lm=lm,
        quiet=quiet,
        ladders=[run for run in measured if len(run.rungs) > 1 or run.quiet is None],
        slices=slices,
        unclear=[f"{part.dimension} {part.value} ({part.utterances})" for part in slices if part.units < MIN_UNITS],
        worst=_worst(quiet) if quiet else [],
        few=MIN_UNITS,
        calibration_error=calibration_error(quiet) if quiet else None,
        training=training,
        hours=sum(run.minutes or 0.0 for run in training) / 60,
        corpora=list(dict.fromkeys(corpus for run in training for corpus in run.hours)),
        limits=_limits(bundle, measured, quiet),
        unclocked=[run.config for run in training if run.minutes is None],
        check=check,
        notes=notes.strip(),
        notice=_sources(notice.read_text(encoding="utf-8")) if notice.is_file() else "",
    )
    return card


def _run_folder(path: Path) -> TrainingRun:
    from asr.train import checkpoint

    try:
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        saved = checkpoint.load(path / checkpoint.FINAL)
    except OSError as error:
        raise InputError(f"{path}: is no folder of a finished run ({error.strerror or error})") from error
    steps = [json.loads(line) for line in (path / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [row["epoch"] for row in steps if "epoch" in row]
    elapsed_s = saved.get("elapsed_s")
    data = path / "data.json"
    hours = json.loads(data.read_text(encoding="utf-8"))["hours"] if data.is_file() else {}
    return TrainingRun(
        config=str(config.get("name") or path.name),
        seed=config.get("seed"),
        steps=saved.get("steps"),
        epochs=_passes(epochs),
        audio_h=sum(hours.values()) if hours else None,
        hours=hours,
        minutes=None if not elapsed_s else elapsed_s / 60,
        threads=config.get("threads"),
        dev_greedy_wer=(saved.get("dev") or {}).get("wer"),
    )


def _passes(epochs: Sequence[int]) -> float | None:
    """Passes over the data from the epoch of each step: a last one that is not over counts by its steps."""
    if not epochs:
        return None
    last = epochs[-1]
    if last == 0:
        return None
    return last + min(1.0, epochs.count(last) / epochs.count(last - 1))


def _limits(bundle: Bundle, measured: Sequence[Measured], quiet: Evaluation | None) -> list[str]:
    """What the measurements say that it cannot do, as sentences: unknown words, noise, who was hardly heard."""
    found = []
    if quiet and quiet.unknown_words and quiet.unknown_words.count:
        missed = quiet.unknown_words
        found.append(f"Words outside the lexicon: {_with_interval(missed.rate)} of {missed.count} are missed.")
    noisy = [rung for run in measured for rung in run.rungs if rung.condition != QUIET]
    if noisy:
        loudest = max(noisy, key=lambda rung: rung.evaluation.overall.wer.value or 0.0)
        found.append(
            f"Noise: in {loudest.condition} {_with_interval(loudest.evaluation.overall.wer)} of the words are wrong."
        )
    hard = [
        f"{part.value} {_percent(part.wer.value)}"
        for part in (quiet.slices if quiet else ())
        if part.dimension == "corpus" and part.units >= MIN_UNITS and (part.wer.low or 0.0) > HARD
    ]
    if hard:
        found.append(f"More than every fourth word is wrong, in quiet, in: {', '.join(hard)}.")
    if bundle.language_model() is None:
        found.append("It has no language model: it writes by sound.")
    return found


def _worst(evaluation: Evaluation, most: int = 3) -> list[SliceResult]:
    """Slices, with enough units to tell, whose interval lies wholly above the rate of the whole; worst first."""
    overall = evaluation.overall.wer.value or 0.0
    clear = [
        part
        for part in evaluation.slices
        if part.dimension in SLICED and part.units >= MIN_UNITS and (part.wer.low or 0.0) > overall
    ]
    return sorted(clear, key=lambda part: -(part.wer.value or 0.0))[:most]


def _sources(notice: str) -> str:
    """The list of sources in a NOTICE: its items, or the whole where it has none."""
    lines = notice.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("- ")), 0)
    last = next((i for i in range(first, len(lines)) if not lines[i].strip()), len(lines))
    return "\n".join(lines[first:last])


def _parameters(path: Path) -> int:
    """Learnt numbers of a bundle's weights."""
    return sum(prod(shape) for name, shape in shapes(path).items() if not name.endswith("positional_embedding"))


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value * 100:.{digits}f} %"


def _with_interval(rate: Any) -> str:
    if rate.low is None or rate.high is None:
        return _percent(rate.value)
    return f"{_percent(rate.value)} ({rate.low * 100:.1f}-{rate.high * 100:.1f})"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("asr", "templates"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=False, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"percent": _percent, "rate": _with_interval}
    return environment.get_template("card.md.j2")
