"""`dengar data ingest` and `dengar data report`: corpora into manifests, and what a manifest holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table

from asr.errors import ConfigError, InputError
from services.cli import output

if TYPE_CHECKING:
    from asr.corpus.ingest import IngestConfig, Summary
    from asr.corpus.statistics import Statistics


def ingest(
    recipe: Annotated[
        str,
        typer.Argument(
            help="How the corpus is laid out: table, pairs, librispeech, commonvoice, kaldi, digits, speechcommands, "
            "packed, manifest; or a corpus of data/corpora (fsdd, ...); or a YAML file."
        ),
    ],
    source: Annotated[Path, typer.Argument(help="The corpus: a folder, a tar or a manifest, as its recipe expects.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the manifests.")],
    *,
    split: Annotated[
        str | None, typer.Option(help="Percentages of train/dev/test where the corpus has no splits, as 80/10/10.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split.")] = None,
    corpus: Annotated[str | None, typer.Option(help="What to call the corpus in the manifest.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="For table: FIELD=NAME of its column, as text=sentence; may be repeated.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="For table: which table in the folder.")] = None,
    subset: Annotated[str | None, typer.Option(help="Only this part of the corpus, as train-clean-100.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the corpus into SOURCE first.")] = False,
    pack: Annotated[bool, typer.Option("--pack", help="Write the audio into tar shards beside the manifests.")] = False,
    audio_format: Annotated[
        Literal["keep", "flac", "opus"], typer.Option("--format", help="What --pack writes.")
    ] = "keep",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Reads a corpus, checks every utterance, normalises the text, splits, and writes manifests.

    Nothing is left out silently: dropped.jsonl names each utterance that was, and why.

    Example: dengar data ingest table recordings/ -o work/mine --column text=sentence --pack --format opus
    """
    from asr.corpus.ingest import ingest as run
    from asr.corpus.pack import PackConfig
    from asr.corpus.recipes import RECIPES

    changes = {"split": split, "seed": seed, "corpus": corpus}
    config = _configured(recipe, changes, {"table": table, "subset": subset}, column or [])
    if download:
        fetch = RECIPES[config.recipe].download
        if fetch is None:
            raise InputError(f"{config.recipe}: has no download; give the folder where it lies")
        source = fetch(source, config.options.subset)
    with output.progress() as progress:
        task = progress.add_task("checking", total=None)
        summary = run(
            source,
            out,
            config,
            jobs=jobs,
            packing=PackConfig(audio_format) if pack else None,
            progress=lambda done: progress.update(task, completed=done),
        )
    if json_:
        from dataclasses import asdict

        output.emit_json({"out": str(out), **asdict(summary)})
    else:
        _print_summary(summary, out)


def report(
    manifests: Annotated[list[Path], typer.Argument(help="One or more manifests, described together.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the page with pictures here (.html).")] = None,
    *,
    sample: Annotated[int, typer.Option(min=0, help="How many utterances to decode and measure; 0: all.")] = 1000,
    examples: Annotated[int, typer.Option(min=0, help="Utterances shown whole on the page.")] = 6,
    augment: Annotated[
        str | None, typer.Option(help="Show them after augmentation too: a preset (car) or a YAML file.")
    ] = None,
    noise: Annotated[Path | None, typer.Option(help="Noise files of your own for --augment.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the augmentation.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> int:
    """Says how much there is, how long, loud, noisy and fast it is, what it looks and sounds like, and what is odd.

    Exit code 2 if some lines or files could not be read; the others are described.

    Example: dengar data report work/mine/train.jsonl work/mine/dev.jsonl -o report.html --augment car
    """
    from asr.corpus.manifest import read_manifest
    from asr.corpus.statistics import describe

    read = [read_manifest(path) for path in manifests]
    augmenter = None
    if augment is not None:
        from asr.augment import AugmentConfig, Augmenter

        augmenter = Augmenter(AugmentConfig.load(augment), seed, noise)
    rows = sum(len(manifest.utterances) for manifest in read)
    with output.progress() as progress:
        task = progress.add_task("measuring", total=min(rows, sample) if sample else rows)
        statistics = describe(read, sample=sample, progress=lambda done: progress.update(task, completed=done))
    if out is not None:
        from asr.corpus.report import render

        page = render(statistics, examples=examples, augmenter=augmenter)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    for problem in statistics.problems[:10]:
        output.warn(f"left out: {problem}")
    for _, error in statistics.unreadable[:10]:
        output.warn(f"left out: {error}")
    if json_:
        output.emit_json({**statistics.to_json(), "report": str(out) if out else None})
    else:
        _print_statistics(statistics)
        if out is not None:
            output.console.print(f"\n{out}", highlight=False, soft_wrap=True)
    return 2 if statistics.problems or statistics.unreadable else 0


def _configured(recipe: str, changes: dict[str, Any], options: dict[str, Any], columns: list[str]) -> IngestConfig:
    """The recipe's configuration with what was said on the command line (not None) put over it."""
    from asr.config import config_to_json, make_config
    from asr.corpus.ingest import IngestConfig

    values = config_to_json(IngestConfig.find(recipe))
    for pair in columns:
        field, equals, name = pair.partition("=")
        if not (field and equals and name):
            raise ConfigError(f"--column {pair}: write it as FIELD=NAME, such as text=sentence")
        values["options"]["columns"][field] = name
    values |= {key: value for key, value in changes.items() if value is not None}
    values["options"] |= {key: value for key, value in options.items() if value is not None}
    return make_config(IngestConfig, values, recipe)


def _print_summary(summary: Summary, out: Path) -> None:
    from asr.corpus.statistics import hours

    table = Table("manifest", *(_right("utterances"), _right("time"), _right("speakers")))
    for split in summary.splits.values():
        table.add_row(
            str(out / split.manifest),
            f"{split.utterances:,}",
            hours(split.duration_s),
            str(split.speakers or "unknown"),
        )
    output.console.print(table)
    if not summary.dropped:
        output.console.print(f"all {summary.read:,} utterances kept", highlight=False)
        return
    table = Table("left out because", _right("utterances"))
    for reason, count in summary.dropped.items():
        table.add_row(reason, f"{count:,}")
    output.console.print(table)
    left_out = sum(summary.dropped.values())
    output.console.print(
        f"{left_out:,} of {summary.read:,} left out; each is named in {out / summary.dropped_list}",
        highlight=False,
        soft_wrap=True,
    )


def _print_statistics(statistics: Statistics) -> None:
    from asr.corpus.measure import QUANTITIES
    from asr.corpus.statistics import hours

    total = statistics.total
    output.console.print(
        f"{total.utterances:,} utterances, {hours(total.duration_s)}, {total.speakers:,} known speakers, "
        f"{len(statistics.words):,} words, {statistics.sentences:,} sentences",
        highlight=False,
    )
    for name, amounts in statistics.groups.items():
        table = Table(name, _right("utterances"), _right("time"), _right("speakers"))
        for value, amount in list(amounts.items())[:12]:
            table.add_row(value, f"{amount.utterances:,}", hours(amount.duration_s), str(amount.speakers or "unknown"))
        if len(amounts) > 12:
            table.caption = f"and {len(amounts) - 12} more"
        output.console.print(table)
    table = Table("word", _right("times"), title="most frequent words")
    for word, count in list(statistics.words.items())[:12]:
        table.add_row(word, f"{count:,}")
    output.console.print(table)
    if statistics.measured:
        names = ("least", "5 %", "25 %", "median", "75 %", "95 %", "most")
        table = Table(f"measured on {len(statistics.measured):,}", *map(_right, names))
        for quantity, title in QUANTITIES.items():
            table.add_row(title, *(f"{value:.1f}" for value in statistics.percentiles(quantity)))
        output.console.print(table)
    if statistics.odd:
        table = Table("odd", _right("how many"), "detail")
        for oddity in statistics.odd:
            table.add_row(oddity.what, f"{oddity.count:,}", oddity.detail)
        output.console.print(table)


def _right(name: str) -> Column:
    return Column(name, justify="right")
