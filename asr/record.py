"""What an experiment's JSON says of a bundle's word error rates, written from results.

    python -m asr.record experiments/default-bundle.json --clean work/results/clean --car work/results/car \\
        --train work/results/train --commit abc1234

The record keeps everything else that stands in it: the training, the commands, other measurements.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr.card import QUIET, measure
from asr.errors import DengarError, InputError
from asr.evaluate import Evaluation, Results, SliceResult
from asr.evaluate.evaluation import Rate

DIGITS = 4
FOLDERS = ("clean", "car", "train")


def rates(clean: Results, car: Results, train: Results) -> dict[str, Any]:
    """Word and character error rates, whole and by corpus, as fractions.

    Args:
        clean: the test in quiet.
        car: (some of) the same recordings in noise.
        train: some of what the bundle was trained on.

    Returns:
        ``quiet`` with intervals; ``car`` by condition, with ``clean`` the same recordings in quiet; ``train``.
    """
    heard = {item.item for item in car.items}
    same = replace(clean, items=tuple(item for item in clean.items if item.item in heard))
    noisy = [rung for rung in measure("car", car).rungs if rung.condition != QUIET]
    by_condition = {"clean": _by_corpus(_quiet("the recordings of --car", same))}
    by_condition |= {rung.condition.removeprefix("cabin "): _by_corpus(rung.evaluation) for rung in noisy}
    return {
        "quiet": _by_corpus(_quiet("--clean", clean), whole=True),
        "car": by_condition,
        "train": _by_corpus(_quiet("--train", train)),
    }


def update(path: Path, folders: Mapping[str, Path], commit: str) -> None:
    """Writes the rates of results folders (``clean``, ``car``, ``train``) into a record.

    Raises:
        InputError: the record cannot be read, or a folder holds results of another bundle than it names.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        bundle = record["bundle"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no JSON record that names its bundle ({error})") from error
    results = {name: Results.read(folder) for name, folder in folders.items()}
    for name, run in results.items():
        found = str(run.settings.get("bundle_hash", ""))
        if found != bundle:
            raise InputError(
                f"{folders[name]}: holds results of bundle {found[:12]}, and {path} is of {bundle[:12]}; give the "
                "record the new bundle and its training first"
            )
    record |= {"evaluated_at_commit": commit, **rates(**results)}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _quiet(what: str, results: Results) -> Evaluation:
    found = measure(what, results).quiet
    if found is None:
        raise InputError(f"{what}: no item was heard in quiet")
    return found


def _by_corpus(evaluation: Evaluation, *, whole: bool = False) -> dict[str, Any]:
    parts = {part.value: part for part in evaluation.slices if part.dimension == "corpus"}
    found = {name: _part(part, interval=whole) for name, part in {"all": evaluation.overall, **parts}.items()}
    if whole:
        found["all"]["rtf"] = _rounded(evaluation.rtf)
    return found


def _part(part: SliceResult, *, interval: bool) -> dict[str, Any]:
    row = {"utterances": part.utterances, "words": part.words, "wer": _rounded(part.wer.value)}
    row["cer"] = _rounded(part.cer.value)
    return {**row, "interval": _interval(part.wer)} if interval else row


def _interval(rate: Rate) -> list[float | None]:
    return [_rounded(rate.low), _rounded(rate.high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def main(arguments: list[str] | None = None) -> int:
    """Brings one record up to date."""
    summary = __doc__.split("\n", maxsplit=1)[0]
    parser = argparse.ArgumentParser(prog="python -m asr.record", description=summary)
    parser.add_argument("record", type=Path, help="JSON of the experiment")
    for name in FOLDERS:
        parser.add_argument(f"--{name}", type=Path, required=True, help="results folder of dengar evaluate -o")
    parser.add_argument("--commit", required=True, help="of the code that heard them")
    options = parser.parse_args(arguments)
    try:
        update(options.record, {name: getattr(options, name) for name in FOLDERS}, options.commit)
    except DengarError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
