"""`dengar bundle tune`: the decoder's weights and the calibration of its confidences."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.decode import DecoderConfig
    from asr.evaluate.heard import Heard
    from asr.evaluate.tune import Listener, Trial
    from asr.recognize import Recognizer


def tune(
    manifests: Annotated[list[Path], typer.Argument(help="Manifests to tune on.", metavar="MANIFEST...")],
    *,
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="Folder, hash or alias.")] = "",
    lm: Annotated[Path | None, typer.Option(help="Another language model than the bundle's.")] = None,
    decoder: Annotated[Path | None, typer.Option(help="YAML of settings to begin with, if not the bundle's.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Setting to begin with, as in beam_width=64.")] = None,
    snr: Annotated[
        str, typer.Option(help="Conditions that the items take turns in: 'clean' or dB; as in clean,15,5.")
    ] = "clean",
    every: Annotated[int, typer.Option(min=1, help="Use one utterance of so many of each half.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.0, help="Minutes of audio that the search runs on.")] = 30.0,
    search: Annotated[bool, typer.Option(help="Search for weights; --no-search calibrates with those it has.")] = True,
    processes: Annotated[int, typer.Option("--processes", "-j", min=1, help="Decode in so many processes.")] = 1,
    work: Annotated[Path, typer.Option(help="Keeps posteriors and trials; a second run goes on from there.")] = Path(
        "work/tune"
    ),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Settings as YAML; beside them, as JSON, trials and figures.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print settings, trials and figures as JSON.")] = False,
) -> None:
    """Tunes a bundle's decoder on one half of the manifests and reports on the other.

    No speaker is in both halves. Voice search counts half and all other corpora the other half, by their words. The
    confidences are calibrated to be the probability that a word, and a whole text, is right. `dengar bundle build
    --decoder` takes the result; `dengar evaluate --half report` measures it on the same other half.

    Example: dengar bundle tune dev.jsonl voice-search.jsonl -o decoder.yaml
    """
    from asr.bundle import load_bundle
    from asr.config import config_to_json, config_to_yaml, load_config, make_config
    from asr.decode import DecoderConfig
    from asr.errors import BundleError
    from asr.evaluate.tune import Listener, TrialLog
    from asr.evaluate.tune import tune as find
    from asr.recognize import Recognizer

    began = time.monotonic()
    loaded = load_bundle(bundle or None)
    lm = lm or loaded.lm_path
    if lm is None:
        raise BundleError(f"{loaded.path}: has no language model to tune; build it with --lm, or give one here")
    overrides = tuple(set_ or ())
    start = (
        load_config(DecoderConfig, decoder, overrides)
        if decoder
        else make_config(DecoderConfig, config_to_json(loaded.decoder), "--set", overrides)
    )
    recognizer = Recognizer(loaded, decoder=DecoderConfig(kind="greedy"))
    tuning, left_out = _hear(recognizer, manifests, "tune", snr, every, work)
    reporting, more = _hear(recognizer, manifests, "report", snr, every, work)
    left_out += more
    for problem in left_out[:10]:
        output.warn(problem)
    if len(left_out) > 10:
        output.warn(f"{len(left_out) - 10} more items were left out; the JSON result lists them all")
    trials: list[dict[str, Any]] = []
    frame_s = recognizer.geometry.frame_s
    with (
        Listener(tuning, loaded.tokens, frame_s, lm, processes=processes) as listener,
        output.progress() as progress,
    ):
        best = start
        if search:
            task = progress.add_task("tuning", total=None)
            frames = int(minutes * 60 / frame_s)
            log = TrialLog(work / f"trials-{listener.digest}-{frames}.jsonl")

            def report(trial: Trial, whole: bool) -> None:
                trials.append({"utterances": "all" if whole else "subset", **trial.summary()})
                progress.update(task, advance=1, description=f"WER {trial.wer:.2%}")

            best = find(listener, start, frames=frames, log=log, report=report).config
        best, tuned = _calibrate(listener, best)
    with Listener(reporting, loaded.tokens, frame_s, lm, processes=processes) as listener:
        figures = _figures(listener, start, best)
    result = {
        "bundle": loaded.hash[:12],
        "lm": str(lm),
        "manifests": [str(path) for path in manifests],
        "conditions": snr,
        "utterances": len(tuning),
        "seconds": round(time.monotonic() - began, 1),
        "best": config_to_json(best),
        **{name: tuned[name] for name in ("wer", "objective", "wer_by_corpus", "unknown_words", "unknown_words_right")},
        "report": {"utterances": len(reporting), **figures},
        "left_out": left_out,
        "trials": trials,
    }
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(config_to_yaml(best), encoding="utf-8")
        out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if json_:
        output.emit_json(result)
    else:
        _show(result, config_to_yaml(best))


def _hear(
    recognizer: Recognizer, paths: list[Path], half: str, snr: str, every: int, work: Path
) -> tuple[list[Heard], list[str]]:
    from asr.config import make_config
    from asr.corpus import read_manifest
    from asr.errors import ConfigError, InputError
    from asr.evaluate import RunConfig
    from asr.evaluate.heard import hear

    try:
        conditions = [None if part.strip() == "clean" else float(part) for part in snr.split(",")]
    except ValueError:
        raise ConfigError(f"--snr {snr}: write dB and 'clean' between commas, as in clean,15,5") from None
    config = make_config(RunConfig, {"snr_db": conditions, "half": half, "every": every}, "tuning")
    manifests = [read_manifest(path) for path in paths]
    with output.progress() as progress:
        task = progress.add_task(f"listening ({half})", total=None)
        heard, problems = hear(
            recognizer, manifests, config, work, report=lambda done, total: progress.update(
                task, completed=done, total=total
            )
        )  # fmt: skip
    if not heard:
        raise InputError(f"{', '.join(map(str, paths))}: the half to {half} on has no item that can be heard")
    unread = [problem for manifest in manifests for problem in manifest.problems] if half == "tune" else []
    return heard, [f"{problem.where}: {problem.reason}" for problem in [*unread, *problems]]


def _calibrate(listener: Listener, config: DecoderConfig) -> tuple[DecoderConfig, dict[str, Any]]:
    """The settings with a calibration, and their figures."""
    import dataclasses

    from asr.evaluate.calibrate import fit
    from asr.evaluate.tune import count

    raw = dataclasses.replace(config, calibration=None)
    final = listener.hypotheses(raw)
    calibration = fit(listener.heard, final, listener.hypotheses(raw, interim=True), listener.known)
    tuned = count(raw, listener.heard, final, listener.known).summary()
    return dataclasses.replace(config, calibration=calibration), tuned


def _figures(listener: Listener, start: DecoderConfig, best: DecoderConfig) -> dict[str, Any]:
    """Error rates greedily, without the language model, before and after tuning; and reliability before and after."""
    import dataclasses

    from asr.decode import DecoderConfig
    from asr.evaluate.calibrate import reliability
    from asr.evaluate.tune import count

    raw = dataclasses.replace(best, calibration=None)
    without = dataclasses.replace(raw, lm_weight=0.0, word_bonus=0.0)
    settings = {
        "greedy": (DecoderConfig(kind="greedy"), False),
        "beam without language model": (without, False),
        "before tuning": (dataclasses.replace(start, calibration=None), True),
        "tuned": (raw, True),
        "calibrated": (best, True),
    }
    found = {name: listener.hypotheses(config, lm=lm) for name, (config, lm) in settings.items()}
    rows = {
        name: count(settings[name][0], listener.heard, hypotheses, listener.known).summary()
        for name, hypotheses in found.items()
        if name != "calibrated"
    }
    figures = ("objective", "wer", "wer_by_corpus", "unknown_words", "unknown_words_right")
    return {
        "rates": {name: {figure: row[figure] for figure in figures} for name, row in rows.items()},
        "confidence": {
            "raw": dataclasses.asdict(reliability(listener.heard, found["tuned"])),
            "calibrated": dataclasses.asdict(reliability(listener.heard, found["calibrated"])),
        },
    }


def _show(result: dict[str, Any], settings: str) -> None:
    from rich.table import Table

    corpora = list(result["wer_by_corpus"])
    table = Table("on the other half", "objective", "WER", *corpora, "unknown words right", box=None)
    for name, row in result["report"]["rates"].items():
        rates = [row["objective"], row["wer"], *(row["wer_by_corpus"].get(corpus, 0.0) for corpus in corpora)]
        unknown = f"{row['unknown_words_right']} of {row['unknown_words']}"
        table.add_row(name, *(f"{rate:.1%}" for rate in rates), unknown)
    output.console.print(table)
    raw, calibrated = result["report"]["confidence"]["raw"], result["report"]["confidence"]["calibrated"]
    output.console.print(
        f"confidence of words: {raw['word_ece']:.1%} off before calibration, {calibrated['word_ece']:.1%} after; of "
        f"whole texts {raw['text_ece']:.1%}, {calibrated['text_ece']:.1%}",
        highlight=False,
    )
    output.console.print(settings, highlight=False)
