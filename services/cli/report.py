"""`dengar report`: where a model errs, why, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output
from services.cli.listening import (
    AudioMb,
    Every,
    Half,
    Json,
    NameLists,
    Noise,
    NoiseDir,
    PacketMs,
    Seed,
    Snr,
    Threads,
    Vocabulary,
    Whole,
    audio_of,
    known_words,
    listen,
    make_folder,
    read_names,
    read_words,
    run_config,
)

if TYPE_CHECKING:
    from asr.evaluate import Results, RunConfig

_RUNG = "results folder or manifest"


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...", help="Results folders of one bundle, read as one test; or manifests to hear first."
        ),
    ],
    *,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Results folders to compare with, read as one; for manifests also another bundle."),
    ] = None,
    train: Annotated[Path | None, typer.Option(help=f"Rung of the ladder: data trained on, as {_RUNG}.")] = None,
    train_dev: Annotated[Path | None, typer.Option(help=f"Rung: data held out of those, as {_RUNG}.")] = None,
    car: Annotated[
        Path | None, typer.Option(help=f"Rung: a test in the car, as {_RUNG}; default: RESULTS with noise.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="What a person or another system reaches on the test in quiet: 'tiny.en offline=0.13'."),
    ] = None,
    names: NameLists = None,
    vocabulary: Vocabulary = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML page to write, one self-contained file.")
    ] = None,
    audio_mb: AudioMb = 5.0,
    max_mb: Annotated[
        float | None, typer.Option(min=0, help="Size that the page may have; utterances with fewest errors go first.")
    ] = None,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Hears manifests: folder, hash or alias; default: the shipped one.")
    ] = "",
    whole: Whole = False,
    packet_ms: PacketMs = 100,
    threads: Threads = 1,
    snr: Snr = "clean",
    noise: Noise = "cabin",
    noise_dir: NoiseDir = "",
    half: Half = "",
    every: Every = 1,
    seed: Seed = 0,
    json_: Json = False,
) -> int:
    """Reports where a model errs, why, and what to do next.

    Slices by what they cost, confusions, kinds of words and of utterances, calibration, fairness, the bias/variance
    ladder and the advice that follows; docs/reports.md explains each part and every rule of advice. --snr is
    for manifests among RESULTS; those of the ladder are heard as they are. Items that fail are listed and in no rate;
    with any in what was heard the exit code is 1.

    Example: dengar report work/results/clean work/results/car --reference 'tiny.en offline=0.13' -o work/report.html
    """
    from asr.evaluate import Resampling
    from asr.evaluate import compare as measure
    from asr.evaluate.analyse import analyse
    from asr.evaluate.pool import pool

    if out is not None:
        make_folder(out.parent)
    references = _references(reference or [])
    listed = read_names(names)
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
    plain = run_config(
        "clean", whole=whole, packet_ms=packet_ms, noise="cabin", noise_dir="", half=None, every=every, seed=seed
    )
    source = _Source(bundle, threads)
    runs = source.runs(results, config)
    pooled, sources = pool(runs)
    rungs = {
        name: source.runs([path], plain)[0] if path is not None else None
        for name, path in (("train", train), ("train_dev", train_dev), ("car", car))
    }
    resampling = Resampling(seed=seed)
    known = words or source.words or known_words(pooled)
    findings = analyse(pooled, vocabulary=known, names=listed, references=references, resampling=resampling, **rungs)
    comparison = None
    if against:
        other = source.other(against, results, config)
        comparison = measure(other, pooled, vocabulary=known, resampling=resampling)
    if out is not None:
        from asr.evaluate.report import report_html

        audio = audio_of(runs, sources, pooled)
        page = report_html(findings, comparison=comparison, audio=audio, audio_budget_mb=audio_mb, max_mb=max_mb)
        _write(out, page)
    if json_:
        value = findings.to_json()
        output.emit_json({**value, "comparison": None if comparison is None else comparison.to_json()})
    else:
        from services.cli.report_tables import show_findings

        show_findings(findings)
        if comparison is not None:
            from services.cli.evaluate_tables import show_comparison

            show_comparison(comparison, ", ".join(against or ()), ", ".join(map(str, results)))
        if out is not None:
            output.console.print(f"report: {out}", highlight=False, soft_wrap=True)
        elif known is None:
            output.warn(
                "the bundle's language model is not at hand: unknown words are not told apart; give --vocabulary"
            )
    return int(source.failed)


@dataclass
class _Source:
    """Gives results, by reading a folder or by hearing manifests with a bundle.

    Attributes:
        bundle: what hears manifests.
        threads: of its acoustic model.
        words: known to its language model, once it has heard something.
        failed: whether anything that was heard failed.
    """

    bundle: str
    threads: int
    words: frozenset[str] | None = None
    failed: bool = False

    def runs(self, paths: Sequence[Path], config: RunConfig) -> list[Results]:
        """One run for each folder, and one for all manifests together."""
        from asr.evaluate import Results, is_results_folder

        folders = [path for path in paths if is_results_folder(path)]
        manifests = [path for path in paths if path not in folders]
        runs = [Results.read(folder) for folder in folders]
        if manifests:
            run, words = listen(self.bundle, manifests, config, self.threads)
            self.words = self.words or words
            self._note(run)
            runs.append(run)
        return runs

    def other(self, against: Sequence[str], paths: Sequence[Path], config: RunConfig) -> Results:
        """The run to compare with: results folders, or another bundle on the manifests among `paths`."""
        from asr.errors import InputError
        from asr.evaluate import Results, is_results_folder
        from asr.evaluate.pool import pool

        strange = [name for name in against if not is_results_folder(name)]
        if not strange:
            return pool([Results.read(name) for name in against])[0]
        if len(against) > 1:
            raise InputError(f"--against {strange[0]}: is no results folder; of several, each must be one")
        manifests = [path for path in paths if not is_results_folder(path)]
        if not manifests:
            raise InputError(
                f"{strange[0]}: is no results folder of `dengar evaluate -o`, and RESULTS name no manifest to hear"
            )
        run, _ = listen(strange[0], manifests, config, self.threads)
        self._note(run)
        return run

    def _note(self, run: Results) -> None:
        self.failed = self.failed or bool(run.left_out) or any(item.error is not None for item in run.items)


def _references(texts: Sequence[str]) -> dict[str, float]:
    from asr.errors import ConfigError

    found: dict[str, float] = {}
    for text in texts:
        name, _, rate = text.rpartition("=")
        try:
            found[name.strip()] = float(rate)
        except ValueError:
            found[name.strip()] = -1.0
        if not name.strip() or not 0 <= found[name.strip()] <= 1:
            raise ConfigError(f"--reference {text}: write a name and a rate from 0 to 1, as in 'tiny.en offline=0.13'")
    return found


def _write(path: Path, page: str) -> None:
    from asr.errors import InputError

    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
