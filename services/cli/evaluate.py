"""`dengar evaluate` and `dengar compare`: how good a model is, and whether another is better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.evaluate import Evaluation, Results, RunConfig

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.html"

Whole = Annotated[bool, typer.Option("--whole", help="Decode whole files at once instead of streaming them.")]
PacketMs = Annotated[int, typer.Option(help="Length of a packet when streaming, in milliseconds.")]
Threads = Annotated[int, typer.Option(min=1, help="Processor threads of the acoustic model.")]
Snr = Annotated[
    str,
    typer.Option(help="Conditions to hear every item in: dB of signal to noise, and 'clean'; as in clean,20,10,5,0."),
]
Noise = Annotated[str, typer.Option(help="Noise for --snr: cabin, babble or files (of --noise-dir, those for tests).")]
NoiseDir = Annotated[str, typer.Option(help="Folder of noise files.")]
Every = Annotated[int, typer.Option("--every", min=1, help="Hear one item of so many, from the first.")]
Half = Annotated[
    str, typer.Option("--half", help="Hear one half of each manifest: 'tune' or 'report'; no speaker is in both.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the noise and of the resampling.")]
Vocabulary = Annotated[
    Path | None, typer.Option(help="Known words, the first of each line; default: the language model's.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def evaluate(
    manifests: Annotated[
        list[Path],
        typer.Argument(metavar="MANIFEST...", help="Manifests to hear, or one results folder to report on again."),
    ],
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped bundle.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Results folder: results.jsonl, evaluation.json, report.html.")
    ] = None,
    whole: Whole = False,
    packet_ms: PacketMs = 100,
    threads: Threads = 1,
    snr: Snr = "clean",
    noise: Noise = "cabin",
    noise_dir: NoiseDir = "",
    half: Half = "",
    every: Every = 1,
    vocabulary: Vocabulary = None,
    seed: Seed = 0,
    audio_mb: Annotated[float, typer.Option(min=0, help="Sound to put into the report, worst utterances first.")] = 5.0,
    json_: Json = False,
) -> int:
    """Measures word, character and sentence error rates with intervals, per slice.

    Audio is streamed in packets, as the service hears it. Rates are fractions of what was recognised: files that
    fail, lines that cannot be read and items without a transcript are listed with their reasons and are in no rate;
    with any of the first two the exit code is 1. `rtf` is processor seconds per second of audio.

    Example: dengar evaluate work/demo/test.jsonl --snr clean,20,10,5,0 -o work/results
    """
    from asr.evaluate import Resampling, is_results_folder
    from asr.evaluate import evaluate as measure

    if out is not None:
        _make_folder(out)
    words = _read_words(vocabulary)
    config = _run_config(
        snr,
        whole=whole,
        packet_ms=packet_ms,
        noise=noise,
        noise_dir=noise_dir,
        half=half or None,
        every=every,
        seed=seed,
    )
    if len(manifests) == 1 and is_results_folder(manifests[0]):
        from asr.evaluate import Results

        results = Results.read(manifests[0])
    else:
        results, known = _run(bundle, manifests, config, threads)
        words = words or known
    evaluation = measure(results, vocabulary=words, resampling=Resampling(seed=seed))
    if out is not None:
        _write(out, results, evaluation, audio_mb)
    if json_:
        output.emit_json(evaluation.summary())
    else:
        from services.cli.evaluate_tables import show_evaluation

        show_evaluation(evaluation)
        if out is not None:
            output.console.print(f"report: {out / REPORT_FILE}", highlight=False)
    return 1 if evaluation.failed or results.left_out else 0


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Results folder or bundle to compare with.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Results folder or bundle in question.")],
    *,
    manifest: Annotated[
        list[Path] | None, typer.Option("--manifest", "-m", help="What bundles are to hear; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML report to write.")] = None,
    whole: Whole = False,
    packet_ms: PacketMs = 100,
    threads: Threads = 1,
    snr: Snr = "clean",
    noise: Noise = "cabin",
    noise_dir: NoiseDir = "",
    half: Half = "",
    every: Every = 1,
    vocabulary: Vocabulary = None,
    seed: Seed = 0,
    json_: Json = False,
) -> int:
    """Compares two models on the same items: per slice, per word, every utterance that changed.

    Differences are B minus A with bootstrap intervals; p-values come from random sign flips by speaker or recording,
    corrected after Holm for the number of slices (MAPSSWE and McNemar's test stand beside them). Items that only one
    of the two recognised are listed, not compared; where a bundle had to run and files failed, the exit code is 1.

    Example: dengar compare work/results/plain work/results/augmented -o work/compare.html
    """
    from asr.errors import InputError
    from asr.evaluate import Resampling, Results, is_results_folder
    from asr.evaluate import compare as measure
    from asr.evaluate.report import comparison_html

    words = _read_words(vocabulary)
    config = _run_config(
        snr,
        whole=whole,
        packet_ms=packet_ms,
        noise=noise,
        noise_dir=noise_dir,
        half=half or None,
        every=every,
        seed=seed,
    )
    if out is not None:
        _make_folder(out.parent)
    sides: list[Results] = []
    failed = False
    for path in (a, b):
        if is_results_folder(path):
            sides.append(Results.read(path))
            continue
        if not manifest:
            raise InputError(
                f"{path}: is no results folder of `dengar evaluate -o`; to run it as a bundle add --manifest FILE"
            )
        results, known = _run(path, manifest, config, threads)
        words = words or known
        failed = failed or bool(results.left_out) or any(item.error is not None for item in results.items)
        sides.append(results)
    comparison = measure(*sides, vocabulary=words, resampling=Resampling(seed=seed))
    if out is not None:
        out.write_text(comparison_html(comparison), encoding="utf-8")
    if json_:
        whole_test = comparison.overall
        output.emit_json(
            {
                "wer_a": whole_test.wer_a,
                "wer_b": whole_test.wer_b,
                "difference": whole_test.test.difference,
                "p_value": whole_test.test.p_value,
                **comparison.to_json(),
            }
        )
    else:
        from services.cli.evaluate_tables import show_comparison

        show_comparison(comparison, str(a), str(b))
        if out is not None:
            output.console.print(f"report: {out}", highlight=False)
    return int(failed)


def _run_config(snr: str, **values: bool | int | str | None) -> RunConfig:
    from asr.config import make_config
    from asr.errors import ConfigError
    from asr.evaluate import RunConfig

    try:
        conditions = [None if part.strip() == "clean" else float(part) for part in snr.split(",")]
    except ValueError:
        raise ConfigError(f"--snr {snr}: write dB and 'clean' between commas, as in clean,20,10,5,0") from None
    return make_config(RunConfig, {"snr_db": conditions, **values}, "evaluation")


def _run(bundle: str, paths: Sequence[Path], config: RunConfig, threads: int) -> tuple[Results, frozenset[str] | None]:
    """What the bundle heard, and the words that its language model knows."""
    from asr.config import config_to_json
    from asr.corpus.manifest import read_manifest
    from asr.evaluate import Results, recognise
    from asr.recognize import Recognizer

    manifests = [read_manifest(path) for path in paths]
    problems = tuple(problem for manifest in manifests for problem in manifest.problems)
    for problem in problems[:10]:
        output.warn(f"{problem.where}: {problem.reason}")
    if len(problems) > 10:
        output.warn(f"{len(problems) - 10} more lines could not be read")
    recognizer = Recognizer.open(bundle or None, threads=threads)
    total = len(config.snr_db) * sum(len(config.chosen(manifest)) for manifest in manifests)
    with output.progress() as progress:
        items = tuple(progress.track(recognise(recognizer, manifests, config), total, description="listening"))
    settings = {
        "bundle": bundle or "default",
        "bundle_hash": recognizer.bundle_hash,
        "mode": "whole files" if config.whole else f"streamed in {config.packet_ms} ms packets",
        "threads": threads,
        "manifests": [str(manifest.path) for manifest in manifests],
        "run": config_to_json(config),
    }
    lm = recognizer.decoder.lm
    return Results(items, problems, settings), frozenset(lm.words) if lm else None


def _write(folder: Path, results: Results, evaluation: Evaluation, audio_mb: float) -> None:
    from asr.config import make_config
    from asr.evaluate import RunConfig
    from asr.evaluate.report import evaluation_html
    from asr.evaluate.run import audio_source

    results.write(folder)
    (folder / EVALUATION_FILE).write_text(
        json.dumps(evaluation.to_json(), indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    config = make_config(RunConfig, dict(results.settings.get("run", {})), str(folder))
    html = evaluation_html(results, evaluation, audio=audio_source(config), audio_budget_mb=audio_mb)
    (folder / REPORT_FILE).write_text(html, encoding="utf-8")


def _make_folder(folder: Path) -> None:
    from asr.errors import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder for the results ({error.strerror or error})") from error


def _read_words(path: Path | None) -> frozenset[str] | None:
    from asr.errors import InputError

    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of words ({error})") from error
    return frozenset(line.split()[0] for line in lines if line.strip())
