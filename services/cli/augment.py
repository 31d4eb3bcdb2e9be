"""`dengar data augment`: a manifest and its audio, changed as in a car or over a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.augment import AugmentConfig
    from asr.augment.files import Written


def augment(
    manifest: Annotated[Path, typer.Argument(help="Manifest (JSON lines) of the audio to augment.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the audio and its manifest.jsonl.")],
    *,
    config: Annotated[
        str, typer.Option("--config", "-c", help="YAML file, or a preset: car, car-eval, clean.")
    ] = "car",
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    noise: Annotated[Path | None, typer.Option("--noise", help="Folder with noise files of your own.")] = None,
    rooms: Annotated[Path | None, typer.Option("--rooms", help="Folder with room impulse responses (.wav).")] = None,
    snr: Annotated[float | None, typer.Option("--snr", help="Noise on every utterance, at this SNR in dB.")] = None,
    copies: Annotated[int, typer.Option(min=1, help="Versions of each utterance.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first utterances.")] = None,
    suffix: Annotated[str, typer.Option("--format", help="flac, opus or wav.")] = "flac",
    compare: Annotated[bool, typer.Option("--compare", help="Write compare.html: before and after, to hear.")] = False,
    items: Annotated[int, typer.Option(min=1, help="Utterances on that page.")] = 12,
    json_: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> int:
    """Writes augmented audio and a manifest that records every draw.

    The same seed gives the same files. Noise files reserved for testing (data/noise-heldout.yaml) are left out
    unless the configuration asks for them. Exit code 2 if some files could not be read; the others are done.

    Example: dengar data augment work/demo/train.jsonl -o work/demo/car --config car --seed 1 --compare

    The ladder: for snr in 20 10 5 0; do dengar data augment dev.jsonl -o car-$snr -c car-eval --snr $snr; done
    """
    from dataclasses import replace

    from asr.augment import AugmentConfig, Augmenter
    from asr.augment.compare import PAGE_NAME, comparison_page
    from asr.augment.files import augment_manifest
    from asr.corpus.manifest import read_manifest

    settings = AugmentConfig.load(config)
    if snr is not None:
        settings = settings.with_snr(snr)
    source = read_manifest(manifest)
    source = replace(source, utterances=source.utterances[:limit])
    augmenter = Augmenter(settings, seed, noise_dir=noise, room_dir=rooms)
    _warn_about_noise(settings, noise, augmenter.skipped_heldout)
    with output.progress() as progress:
        task = progress.add_task("augmenting", total=len(source.utterances))
        written = augment_manifest(
            source, augmenter, out, copies=copies, suffix=suffix, on_done=lambda: progress.advance(task)
        )
    page = out / PAGE_NAME if compare else None
    if page is not None:
        page.write_text(comparison_page(source, written, str(settings), items=items), encoding="utf-8")
    for problem in written.problems[:10]:
        output.warn(f"left out: {problem.reason}")
    if len(written.problems) > 10:
        output.warn(f"left out: {len(written.problems) - 10} more")
    if json_:
        output.emit_json(_figures(written, page, seed, len(augmenter.skipped_heldout)))
    else:
        _print(written, page)
    return 2 if written.problems else 0


def _warn_about_noise(settings: AugmentConfig, folder: Path | None, heldout: list[str]) -> None:
    if heldout:
        output.warn(f"{len(heldout)} noise files are reserved for testing and left out, such as {heldout[0]}")
    if folder is None and settings.noise.probability > 0 and settings.noise.kinds.get("files", 0) > 0:
        output.warn("no folder of noise files was given (--noise): only synthetic noise is used")
    if folder is not None and not settings.noise.kinds.get("files", 0) > 0:
        output.warn(f"{folder} is not used: the configuration gives noise.kinds.files no weight")


def _figures(written: Written, page: Path | None, seed: int, heldout: int) -> dict[str, object]:
    return {
        "manifest": str(written.manifest),
        "utterances": len(written.utterances),
        "duration_s": round(written.duration_s, 2),
        "seed": seed,
        "noise": written.noises(),
        "heldout_noise_files": heldout,
        "times_real_time": round(written.times_real_time, 1),
        "left_out": [{"file": problem.where, "error": problem.reason} for problem in written.problems],
        "compare": str(page) if page is not None else None,
    }


def _print(written: Written, page: Path | None) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_row("utterances", f"{len(written.utterances)} ({written.duration_s / 60:.1f} minutes)")
    table.add_row("noise", ", ".join(f"{kind} {count}" for kind, count in written.noises().items()))
    table.add_row(
        "speed", f"{written.times_real_time:.0f} times real time on one core, making noise clips and rooms included"
    )
    table.add_row("manifest", str(written.manifest))
    if page is not None:
        table.add_row("before and after", str(page))
    output.console.print(table)
