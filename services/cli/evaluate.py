"""`dengar evaluate` and `dengar compare`: how good a model is, and whether another is better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output
from services.cli.listening import (
    AudioMb,
    Every,
    Half,
    Json,
    Noise,
    NoiseDir,
    PacketMs,
    Seed,
    Snr,
    Threads,
    Vocabulary,
    Whole,
    audio_of,
    listen,
    make_folder,
    read_names,
    read_words,
    run_config,
)

if TYPE_CHECKING:
    from asr.evaluate import Results
    from asr.evaluate.findings import Findings

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.html"


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
    audio_mb: AudioMb = 5.0,
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
        make_folder(out)
    words = read_words(vocabulary)
    config = run_config(
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
        results, known = listen(bundle, manifests, config, threads)
        words = words or known
    if out is not None:
        from asr.evaluate.analyse import analyse

        findings = analyse(results, vocabulary=words, names=read_names(None), resampling=Resampling(seed=seed))
        evaluation = findings.evaluation
        _write(out, results, findings, audio_mb)
    else:
        evaluation = measure(results, vocabulary=words, resampling=Resampling(seed=seed))
    if json_:
        output.emit_json(evaluation.summary())
    else:
        from services.cli.evaluate_tables import show_evaluation

        show_evaluation(evaluation)
        if out is not None:
            output.console.print(f"report: {out / REPORT_FILE}", highlight=False, soft_wrap=True)
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

    words = read_words(vocabulary)
    config = run_config(
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
        make_folder(out.parent)
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
        results, known = listen(path, manifest, config, threads)
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
            output.console.print(f"report: {out}", highlight=False, soft_wrap=True)
    return int(failed)


def _write(folder: Path, results: Results, findings: Findings, audio_mb: float) -> None:
    from asr.evaluate.report import report_html

    results.write(folder)
    (folder / EVALUATION_FILE).write_text(
        json.dumps(findings.evaluation.to_json(), indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    audio = audio_of([results], [0] * len(results.items), results)
    html = report_html(findings, audio=audio, audio_budget_mb=audio_mb)
    (folder / REPORT_FILE).write_text(html, encoding="utf-8")
