"""`dengar ladder`: what noise costs, for one model or several, and what they make up where nobody speaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.corpus.manifest import Manifest
    from asr.evaluate import Results, RunConfig
    from asr.evaluate.empty import EmptyConfig, Invented
    from asr.evaluate.noise_ladder import Condition, NoiseLadder
    from asr.recognize import Recognizer

EMPTY_FILE = "empty.json"


def ladder(
    manifests: Annotated[
        list[Path] | None, typer.Argument(metavar="[MANIFEST...]", help="What to hear; none with --empty alone.")
    ] = None,
    *,
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            "--bundle", "-b", help="Folder, hash or alias, also NAME=BUNDLE; repeat to compare with the first."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results; a finished condition is not heard again.")
    ],
    snr: Annotated[str, typer.Option(help="Rungs besides clean, dB of signal to noise.")] = "20,15,10,5,0",
    noise: Annotated[list[str] | None, typer.Option(help="cabin, babble or files; repeat for several.")] = None,
    noise_dir: Annotated[str, typer.Option(help="Folder of noise files; those reserved for tests are used.")] = "",
    every: Annotated[int, typer.Option("--every", min=1, help="Hear one item of so many, from the first.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads of the acoustic model.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise and of the resampling.")] = 0,
    listen: Annotated[int, typer.Option(min=0, help="Recordings to put into the page, in every condition.")] = 4,
    empty: Annotated[
        float, typer.Option("--empty", min=0, help="Minutes of each sound without speech, at each level; 0: none.")
    ] = 0.0,
    stream_s: Annotated[float, typer.Option(min=1, max=600, help="Length of a stream with --empty.")] = 30.0,
    music: Annotated[str, typer.Option("--music", help="Folder of recorded music for --empty.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> int:
    """Hears the same items in quiet and in ever louder noise, and measures each model against the first.

    Writes ladder.json, ladder.md, ladder.svg and ladder.html (with audio), and each condition's results as
    `dengar evaluate` does. With --empty, silence, noise and music are streamed too, and words in final results counted;
    recorded music comes with Debian's asterisk-moh-opsound-g722 (/usr/share/asterisk/moh). Exit code 1: items failed.

    Example: dengar ladder work/demo/test.jsonl -b plain=work/bundles/plain -b car=default -o work/ladder --empty 10
    """
    from asr.corpus.manifest import read_manifest
    from asr.errors import InputError

    if not manifests and not empty:
        raise InputError("nothing to hear; give a manifest, or minutes of sounds without speech: --empty 10")
    _make_folder(out)
    conditions = _conditions(snr, noise or ["cabin"])
    read = [read_manifest(path) for path in manifests or []]
    for problem in [problem for manifest in read for problem in manifest.problems][:10]:
        output.warn(f"{problem.where}: {problem.reason}")
    configs = {c: _run_config(c, noise_dir=noise_dir, every=every, seed=seed) for c in conditions} if read else {}
    empties = _empty_config(empty, stream_s, noise_dir, music, seed) if empty else None
    for config in configs.values():
        config.augmenters()  # what cannot be made is said before anything is heard
    models = _open(bundle or ["default"], threads, out)
    with output.progress() as progress:
        steps = len(configs) * sum(-(-len(manifest.utterances) // every) for manifest in read)
        task = progress.add_task("listening", total=len(models) * steps or None)
        heard: dict[Condition, list[Results]] = {}
        for condition, config in configs.items():
            found = []
            for model in models:
                results = _hear(model, condition, config, read, lambda: progress.advance(task))
                found.append(results)
            heard[condition] = found
    invented = {model.name: _hear_empty(model, empties) for model in models} if empties else {}
    measured = _measure(heard, models, seed) if heard else None
    row = _write(out, measured, heard, configs, invented, listen)
    if json_:
        output.emit_json(row)
    else:
        for name in ("ladder.md", "empty.md"):
            if (out / name).exists() and (measured if name == "ladder.md" else invented):
                output.console.print((out / name).read_text("utf-8"), highlight=False, markup=False, soft_wrap=True)
        output.console.print(f"written: {out}", highlight=False, soft_wrap=True)
    left_out = measured.left_out if measured else ()
    if left_out:
        output.warn(f"{len(left_out)} items do not count; the first: {left_out[0].where}: {left_out[0].reason}")
    return 1 if left_out else 0


@dataclass(frozen=True)
class _Model:
    name: str
    folder: Path
    recognizer: Recognizer


def _open(bundles: Sequence[str], threads: int, out: Path) -> list[_Model]:
    from asr.errors import InputError
    from asr.recognize import Recognizer

    models: list[_Model] = []
    for text in bundles:
        name, found, where = text.partition("=")
        if not found or Path(text).exists():
            name, where = Path(text).name, text
        recognizer = Recognizer.open(None if where == "default" else where, threads=threads)
        if any(name == model.name for model in models):
            raise InputError(f"two models are called {name}; name them: -b plain={where} -b car=...")
        models.append(_Model(name, out / recognizer.bundle_hash[:12], recognizer))
    return models


def _conditions(snr: str, noises: Sequence[str]) -> list[Condition]:
    from asr.errors import ConfigError
    from asr.evaluate.noise_ladder import Condition

    try:
        rungs = [float(part) for part in snr.split(",") if part.strip() not in ("", "clean")]
    except ValueError:
        raise ConfigError(f"--snr {snr}: write dB between commas, as in 20,15,10,5,0") from None
    noisy = [Condition(noise, level) for noise in dict.fromkeys(noises) for level in sorted(set(rungs), reverse=True)]
    return [Condition(), *noisy]


def _run_config(condition: Condition, *, noise_dir: str, every: int, seed: int) -> RunConfig:
    from asr.config import make_config
    from asr.evaluate import RunConfig

    values: dict[str, Any] = {"snr_db": [condition.snr_db], "every": every, "seed": seed}
    if condition.snr_db is not None:
        values |= {"noise": condition.noise, "noise_dir": noise_dir if condition.noise == "files" else ""}
    return make_config(RunConfig, values, "ladder")


def _empty_config(minutes: float, stream_s: float, noise_dir: str, music: str, seed: int) -> EmptyConfig:
    from asr.config import make_config
    from asr.evaluate.empty import EmptyConfig

    values = {"minutes": minutes, "stream_s": stream_s, "noise_dir": noise_dir, "music_dir": music, "seed": seed}
    return make_config(EmptyConfig, values, "--empty")


def _hear(
    model: _Model, condition: Condition, config: RunConfig, manifests: Sequence[Manifest], advance: Any
) -> Results:
    """The condition's results: those of an earlier run with the same settings, or heard now and kept."""
    from asr.config import config_to_json
    from asr.errors import InputError
    from asr.evaluate import Results, recognise

    folder = model.folder / str(condition).replace(" ", "-")
    settings = {
        "bundle": model.name,
        "bundle_hash": model.recognizer.bundle_hash,
        "mode": f"streamed in {config.packet_ms} ms packets",
        "manifests": [str(manifest.path.resolve()) for manifest in manifests],
        "manifest_sha256": [hashlib.sha256(manifest.path.read_bytes()).hexdigest() for manifest in manifests],
        "run": json.loads(json.dumps(config_to_json(config))),
    }
    try:
        before = Results.read(folder)
    except InputError:
        before = None
    if before is not None and {**before.settings, "bundle": model.name} == settings:
        for _ in before.items:
            advance()
        return before
    items = []
    for item in recognise(model.recognizer, manifests, config):
        items.append(item)
        advance()
    problems = tuple(problem for manifest in manifests for problem in manifest.problems)
    results = Results(tuple(items), problems, settings)
    results.write(folder)
    return results


def _hear_empty(model: _Model, config: EmptyConfig) -> list[Invented]:
    from pydantic import TypeAdapter

    from asr.config import config_to_json
    from asr.evaluate.empty import Invented, empty_sounds, listen_empty

    path = model.folder / EMPTY_FILE
    settings = json.loads(json.dumps(config_to_json(config)))
    try:
        before = json.loads(path.read_text("utf-8"))
        if before["settings"] == settings:
            return TypeAdapter(list[Invented]).validate_python(before["sounds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    sounds = empty_sounds(config)
    with output.progress() as progress:
        tracked = progress.track(
            listen_empty(model.recognizer, config, sounds=sounds), len(sounds), description="empty"
        )
        found = list(tracked)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = TypeAdapter(list[Invented]).dump_python(found, mode="json")
    path.write_text(json.dumps({"settings": settings, "sounds": rows}, indent=1) + "\n", "utf-8")
    return found


def _measure(heard: dict[Condition, list[Results]], models: Sequence[_Model], seed: int) -> NoiseLadder:
    from asr.evaluate import Resampling
    from asr.evaluate.noise_ladder import noise_ladder

    settings = next(iter(heard.values()))[0].settings
    kept = {key: settings[key] for key in ("mode", "manifests", "manifest_sha256")}
    hashes = {model.name: model.recognizer.bundle_hash for model in models}
    return noise_ladder(
        heard,
        [model.name for model in models],
        resampling=Resampling(seed=seed),
        settings={**kept, "bundles": hashes, "every": settings["run"]["every"], "seed": seed},
    )


def _write(
    out: Path,
    measured: NoiseLadder | None,
    heard: dict[Condition, list[Results]],
    configs: dict[Condition, RunConfig],
    invented: dict[str, list[Invented]],
    listen: int,
) -> dict[str, Any]:
    from asr.evaluate.empty import empty_markdown, to_json
    from asr.evaluate.noise_ladder import markdown
    from asr.evaluate.noise_ladder_page import curve, page

    row: dict[str, Any] = {} if measured is None else measured.to_json()
    if invented:
        row["empty"] = {name: [to_json(sound) for sound in sounds] for name, sounds in invented.items()}
        (out / "empty.md").write_text(empty_markdown(invented), "utf-8")
    (out / "ladder.json").write_text(json.dumps(row, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if measured is not None:
        (out / "ladder.md").write_text(markdown(measured), "utf-8")
        (out / "ladder.svg").write_text(curve(measured), "utf-8")
        recordings = list(_recordings(heard, configs, listen))
        (out / "ladder.html").write_text(page(measured, recordings, invented), "utf-8")
    return row


def _recordings(
    heard: dict[Condition, list[Results]], configs: dict[Condition, RunConfig], count: int
) -> Iterator[tuple[str, list[Any]]]:
    """A few recordings in every condition: their reference text, and what was heard."""
    from asr.evaluate.noise_ladder_page import Heard, spread
    from asr.evaluate.run import audio_source

    first = next(iter(heard.values()))[0].items
    sources = {condition: audio_source(config) for condition, config in configs.items()}
    for name in spread(first, count) if count else []:
        versions = []
        for condition, group in heard.items():
            items = [next((item for item in results.items if item.item == name), None) for results in group]
            if items[0] is not None:
                texts = tuple("" if item is None else item.hypothesis for item in items)
                versions.append(Heard(condition, sources[condition](items[0]), texts))
        reference = next(item.utterance.text for item in first if item.item == name)
        yield reference, versions


def _make_folder(folder: Path) -> None:
    from asr.errors import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder for the results ({error.strerror or error})") from error
