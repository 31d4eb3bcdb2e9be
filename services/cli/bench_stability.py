"""`dengar bench stability`: whether the stability of interim results is the probability that they stand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output
from services.cli.listening import Every, Json, Noise, NoiseDir, PacketMs, Seed, Snr, run_config

if TYPE_CHECKING:
    from asr.evaluate.run import RunConfig
    from asr.evaluate.stability import Shown, StabilityReport


def bench_stability(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Manifests with recordings.")],
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped one.")
    ] = "",
    snr: Snr = "clean",
    noise: Noise = "cabin",
    noise_dir: NoiseDir = "",
    every: Every = 1,
    packet_ms: PacketMs = 100,
    seed: Seed = 0,
    json_: Json = False,
) -> int:
    """Fits the weights of stability on one half of the manifests and measures them, and the bundle's, on the other.

    Recordings are streamed in packets with a glimpse after each; every interim result is held against the final one.
    Transcripts play no part. `first measure` is the share of words that stood in the interim result before, which
    stability was at first. The weights can stand in a bundle's `decoder.yaml`, under `stability`.

    Example: dengar bench stability dev.jsonl --every 5 --json
    """
    from asr.bundle import load_bundle
    from asr.config import config_to_json
    from asr.corpus.manifest import read_manifest
    from asr.errors import InputError
    from asr.evaluate import stability as measure
    from asr.recognize import Recognizer

    run = run_config(snr, packet_ms=packet_ms, noise=noise, noise_dir=noise_dir, every=every, seed=seed)
    read = [read_manifest(path) for path in manifests]
    recognizer = Recognizer(load_bundle(bundle or None))
    shown, recordings, left_out = _watched(recognizer, read, run)
    tune, rest = ([one for one in shown if one.half == half] for half in ("tune", "report"))
    if not tune or not rest:
        raise InputError(f"{', '.join(map(str, manifests))}: too few recordings with words for two halves")
    weights = {"bundle": recognizer.decoder.config.stability, "fitted": measure.fit(tune)}
    reports = {name: measure.report(rest, measure.stabilities(rest, found)) for name, found in weights.items()}
    import numpy as np

    reports["first measure"] = measure.report(rest, np.array([one.unchanged for one in rest]))
    result = {
        "bundle": recognizer.bundle_hash,
        "manifests": [str(path) for path in manifests],
        "settings": config_to_json(run),
        "recordings": recordings,
        "interim_results": {"tune": len(tune), "report": len(rest)},
        "weights": {name: config_to_json(found) for name, found in weights.items()},
        "report": {name: asdict(found) for name, found in reports.items()},
        "left_out": left_out,
    }
    if json_:
        output.emit_json(result)
    else:
        _show(result["weights"], reports)
    return 1 if left_out else 0


def _watched(recognizer: Any, manifests: list[Any], run: RunConfig) -> tuple[list[Shown], int, list[str]]:
    from asr.corpus.manifest import Problem
    from asr.evaluate.stability import watch

    problems = [problem for manifest in manifests for problem in manifest.problems]
    shown: list[Shown] = []
    recordings = 0
    with output.progress() as progress:
        total = sum(len(run.chosen(manifest)) for manifest in manifests)
        for item in progress.track(watch(recognizer, manifests, run), total, description="listening"):
            if isinstance(item, Problem):
                problems.append(item)
            else:
                recordings += 1
                shown += item
    left_out = [f"{problem.where}: {problem.reason}" for problem in problems]
    for reason in left_out[:10]:
        output.warn(reason)
    return shown, recordings, left_out


def _show(weights: dict[str, Any], reports: dict[str, StabilityReport]) -> None:
    from rich.table import Table

    for name, report in reports.items():
        output.console.print(
            f"\n{name}: {report.results} interim results, of which {report.stand:.1%} stand; mean stability "
            f"{report.mean:.3f}, calibration error {report.calibration_error:.3f}",
            highlight=False,
        )
        table = Table("stability at least", "interim results", "stand", "words taken back", box=None)
        for row in report.trust:
            table.add_row(f"{row.stability:g}", f"{row.shown:.1%}", f"{row.stand:.1%}", f"{row.words_taken_back:.2%}")
        output.console.print(table)
    output.console.print(f"\nfitted weights: {weights['fitted']}", highlight=False)
