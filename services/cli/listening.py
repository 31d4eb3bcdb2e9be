"""What the commands that evaluate share: their options, listening to manifests, reading results again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.audio import Samples
    from asr.evaluate import Results, RunConfig
    from asr.evaluate.findings import ReadUtterance
    from asr.evaluate.names import Names

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
AudioMb = Annotated[float, typer.Option(min=0, help="Sound to put into the report, worst utterances first.")]
NameLists = Annotated[
    list[Path] | None, typer.Option("--names", help="List of names, one a line; may be repeated; default: data/names.")
]


def run_config(snr: str, **values: bool | int | str | None) -> RunConfig:
    """How items are heard, from the options; raises `ConfigError`."""
    from asr.config import make_config
    from asr.errors import ConfigError
    from asr.evaluate import RunConfig

    try:
        conditions = [None if part.strip() == "clean" else float(part) for part in snr.split(",")]
    except ValueError:
        raise ConfigError(f"--snr {snr}: write dB and 'clean' between commas, as in clean,20,10,5,0") from None
    return make_config(RunConfig, {"snr_db": conditions, **values}, "evaluation")


def listen(
    bundle: str, paths: Sequence[Path], config: RunConfig, threads: int
) -> tuple[Results, frozenset[str] | None]:
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


def audio_of(
    runs: Sequence[Results], sources: Sequence[int], results: Results
) -> Callable[[ReadUtterance], Samples | None]:
    """Makes what an utterance of pooled results sounded like again (see `asr.evaluate.pool`)."""
    from asr.config import make_config
    from asr.evaluate import RunConfig
    from asr.evaluate.run import audio_source

    heard = [audio_source(make_config(RunConfig, dict(run.settings.get("run", {})), "settings.json")) for run in runs]

    def audio(utterance: ReadUtterance) -> Samples | None:
        return heard[sources[utterance.index]](results.items[utterance.index])

    return audio


def known_words(results: Results) -> frozenset[str] | None:
    """The words that the language model of the results' bundle knows; None where that bundle is not at hand."""
    from asr.bundle import load_bundle
    from asr.errors import DengarError

    name = str(results.settings.get("bundle", "default"))
    try:
        bundle = load_bundle(None if name == "default" else name)
        if bundle.hash != results.settings.get("bundle_hash"):
            return None
        lm = bundle.language_model()
    except DengarError:
        return None
    return frozenset(lm.words) if lm else None


def read_names(paths: Sequence[Path] | None) -> Names | None:
    """Names from lists, by default from ``data/names``; None where that is not installed."""
    from asr.corpus.truecase import NAMES
    from asr.evaluate.names import Names

    return Names.read(paths) if paths or any(NAMES.glob("*.txt")) else None


def make_folder(folder: Path) -> None:
    """Makes a folder for results; raises `InputError`."""
    from asr.errors import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder for the results ({error.strerror or error})") from error


def read_words(path: Path | None) -> frozenset[str] | None:
    """The first word of each line of a list; None without one; raises `InputError`."""
    from asr.errors import InputError

    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of words ({error})") from error
    return frozenset(line.split()[0] for line in lines if line.strip())
