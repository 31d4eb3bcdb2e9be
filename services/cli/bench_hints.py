"""`dengar bench hints`: what phrase hints are worth on rare words, and what they cost elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.evaluate.heard import Heard


def bench_hints(
    manifests: Annotated[list[Path], typer.Argument(help="Manifests with transcripts.", metavar="MANIFEST...")],
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped one.")
    ] = "",
    lm: Annotated[Path | None, typer.Option(help="Another language model than the bundle's.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Decoder setting, as in hint_boost=2; may be repeated.")
    ] = None,
    distractors: Annotated[str, typer.Option(help="Numbers of other phrases beside the right ones.")] = "0,100,1000",
    names: Annotated[
        list[Path] | None, typer.Option("--names", help="List of names, one a line; default: those of the repository.")
    ] = None,
    half: Annotated[str, typer.Option(help="tune or report, as dengar bundle tune halves; all for both.")] = "all",
    every: Annotated[int, typer.Option(min=1, help="Use one utterance of so many.")] = 1,
    seed: Annotated[int, typer.Option(help="Draws the distractors.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps posteriors; a second run begins with them.")] = Path("work/tune"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure recall of hinted rare words, errors elsewhere and decoding time, among more and more distractors.

    Rare words are those that the language model does not know or expects less often than once in 100,000; with the
    names beside them they are an utterance's right hints. Distractors are names and the hints of other utterances,
    then rare words of the lexicon. The acoustic model runs once for each utterance. The time is that of decoding with
    the largest number of distractors over that without hints.

    Example: dengar bench hints voice-search.jsonl --half report
    """
    from asr.bundle import load_bundle
    from asr.config import config_to_json, make_config
    from asr.decode import DecoderConfig, LanguageModel
    from asr.errors import BundleError
    from asr.evaluate.hints import bench_of, change_interval
    from asr.evaluate.names import Names

    counts = _counts(distractors)
    loaded = load_bundle(bundle or None)
    model = LanguageModel.load(lm) if lm else loaded.language_model()
    if model is None:
        raise BundleError(f"{loaded.path}: has no language model, so no word is rarer than another; give one with --lm")
    config = make_config(DecoderConfig, config_to_json(loaded.decoder), "--set", tuple(set_ or ()))
    heard, left_out, frame_s = _hear(loaded, manifests, half, every, work)
    for reason in left_out[:10]:
        output.warn(reason)
    bench = bench_of(heard, model, Names.read(names), loaded.tokens, config, frame_s, seed)
    conditions: list[dict[str, Any]] = []
    plain: list[str] = []
    with output.progress() as progress:
        for count in (None, *counts):
            task = progress.add_task("no hints" if count is None else f"{count} distractors", total=len(heard))
            found, texts = bench.run(count, partial(progress.advance, task))
            plain = plain or texts
            row = {"distractors": count, **{name: getattr(found, name) for name in found.__slots__}}
            row |= {"recall": found.recall, "elsewhere_wer": found.elsewhere_wer}
            if count is not None:
                row["fewer_missed"] = 1 - found.missed / max(1, conditions[0]["hinted"] - conditions[0]["hinted_right"])
                row["elsewhere_change"] = found.elsewhere_wer - conditions[0]["elsewhere_wer"]
                row["elsewhere_change_interval"] = change_interval(bench.items, plain, texts, seed)
            conditions.append(row)
        ratio, rtf, compile_s = bench.time_ratio(max(counts))
    result = {
        "bundle": loaded.hash,
        "manifests": [str(path) for path in manifests],
        "half": half,
        "utterances": len(heard),
        "utterances_with_hints": sum(bool(item.phrases) for item in bench.items),
        "hint_boost": config.hint_boost,
        "hint_word_cost": config.hint_word_cost,
        "hint_crowd_cost": config.hint_crowd_cost,
        "seed": seed,
        "conditions": conditions,
        "timed_with": max(counts),
        "time_ratio": ratio,
        "rtf_without": rtf,
        "compile_ms": 1000 * compile_s,
        "left_out": left_out,
    }
    if json_:
        output.emit_json(result)
    else:
        _show(result)


def _counts(text: str) -> list[int]:
    from asr.errors import ConfigError

    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [-1]
    if min(counts) < 0:
        raise ConfigError(f"--distractors {text}: write numbers between commas, as in 0,100,1000")
    return counts


def _hear(
    loaded: Any, manifests: list[Path], half: str, every: int, work: Path
) -> tuple[list[Heard], list[str], float]:
    from asr.config import make_config
    from asr.corpus import read_manifest
    from asr.decode import DecoderConfig
    from asr.errors import InputError
    from asr.evaluate import RunConfig
    from asr.evaluate.heard import hear
    from asr.recognize import Recognizer

    recognizer = Recognizer(loaded, decoder=DecoderConfig(kind="greedy"))
    run = make_config(RunConfig, {"half": None if half == "all" else half, "every": every}, "bench hints")
    found = [read_manifest(path) for path in manifests]
    with output.progress() as progress:
        task = progress.add_task("listening", total=None)
        heard, problems = hear(
            recognizer, found, run, work, report=lambda done, total: progress.update(task, completed=done, total=total)
        )
    if not heard:
        raise InputError(f"{', '.join(map(str, manifests))}: no item can be heard and has a transcript")
    unread = [problem for manifest in found for problem in manifest.problems]
    return heard, [f"{p.where}: {p.reason}" for p in [*unread, *problems]], recognizer.geometry.frame_s


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("hints", "right", "recall", "fewer missed", "WER elsewhere", "change", box=None)
    for row in result["conditions"]:
        count = row["distractors"]
        table.add_row(
            "none" if count is None else f"+ {count} others",
            f"{row['hinted_right']} of {row['hinted']}",
            f"{row['recall']:.1%}",
            "" if count is None else f"{row['fewer_missed']:.0%}",
            f"{row['elsewhere_wer']:.2%}",
            "" if count is None else _points(row["elsewhere_change"], *row["elsewhere_change_interval"]),
        )
    output.console.print(table)
    output.console.print(
        f"decoding a stream with {result['timed_with']} phrases takes {result['time_ratio']:.3f} times as long as "
        f"without ({result['rtf_without']:.4f} s per s of audio); compiling them {result['compile_ms']:.1f} ms",
        highlight=False,
    )


def _points(change: float, low: float, high: float) -> str:
    return f"{100 * change:+.2f} pt ({100 * low:+.2f} to {100 * high:+.2f})"
