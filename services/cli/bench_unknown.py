"""`dengar bench unknown`: how well words outside the lexicon are found, and the right names for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import output


def bench_unknown(
    manifests: Annotated[list[Path], typer.Argument(help="Manifests with transcripts.", metavar="MANIFEST...")],
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped one.")
    ] = "",
    names: Annotated[
        Path | None, typer.Option("--names", help="Catalogue: a name a line, or a table with a column called name.")
    ] = None,
    snr: Annotated[str, typer.Option(help="Conditions: clean, or dB of cabin noise.")] = "clean,10",
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit the weights to the tuning half instead of taking the bundle's.")
    ] = False,
    most: Annotated[int, typer.Option(min=1, help="Use at most so many utterances of each half of a manifest.")] = 360,
    work: Annotated[Path, typer.Option(help="Keeps posteriors; a second run begins with them.")] = Path("work/unknown"),
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Settings of the search as YAML, for dengar bundle build --unknown."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure precision and recall of unknown spans, and how often the right name is proposed.

    Unknown are the words of the references that the bundle's lexicon lacks. Figures are those of the reporting half of
    each manifest; weights, and those of a baseline that sees the best hypothesis alone, are fitted to the other. Names
    are those of the catalogue that are spoken and whose surname the lexicon lacks.

    Example: dengar bench unknown work/unknown/names/manifest.jsonl --names people.csv
    """
    from asr.config import config_to_json, config_to_yaml
    from asr.corpus import read_manifest
    from asr.evaluate.unknown_bench import Settings, UnknownBench, read_catalogue
    from asr.recognize import Recognizer

    conditions = _conditions(snr)
    catalogue = read_catalogue(names) if names else None
    recognizer = Recognizer.open(bundle or None)
    with output.progress() as progress:
        task = progress.add_task("", total=None)

        def report(text: str) -> None:
            progress.update(task, description=text)

        found = [read_manifest(path) for path in manifests]
        bench = UnknownBench(recognizer, found, conditions, most, work, report)
        settings = bench.fit(catalogue, report) if fit else Settings(recognizer.bundle.unknown)
        report("measuring")
        result = {
            "bundle": recognizer.bundle_hash,
            "manifests": [str(path) for path in manifests],
            "names": str(names) if names else None,
            "fitted": fit,
            "most": most,
            "settings": {name: config_to_json(value) for name, value in vars(settings).items()},
            **bench.report(settings, catalogue),
            "left_out": [f"{problem.where}: {problem.reason}" for problem in bench.left_out],
        }
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(config_to_yaml(settings.unknown), encoding="utf-8")
    for reason in result["left_out"][:10]:
        output.warn(reason)
    if json_:
        output.emit_json(result)
    else:
        _show(result)


def _conditions(text: str) -> list[float | None]:
    from asr.errors import ConfigError

    try:
        return [None if part.strip() == "clean" else float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--snr {text}: write clean or numbers of dB between commas, as in clean,10") from error


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("set", "condition", "unknown", "precision", "recall", "area", "1-best area", box=None)
    for row in result["sets"]:
        point = row["emissions"]["at_threshold"]
        table.add_row(
            row["corpus"],
            row["condition"],
            f"{row['unknown_words']} of {row['words']}",
            f"{point['precision']:.0%}",
            f"{point['recall']:.0%}",
            f"{row['emissions']['average_precision']:.2f}",
            f"{row['best']['average_precision']:.2f}",
        )
    output.console.print(table)
    for row in result.get("proposals", ()):
        table = Table(
            f"{row['spoken']} names, {row['corpus']}, {row['condition']}", "spotted", "1", "3", "10", box=None
        )
        for way in ("acoustics", "sound", "best"):
            cells = [row[way]["spotted"], *row[way]["first_1_3_10"]]
            table.add_row(way, *(f"{cell / row['spoken']:.0%}" for cell in cells))
        output.console.print(table)
