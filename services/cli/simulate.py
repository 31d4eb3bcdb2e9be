"""`dengar simulate`: a month of traffic in simulated time, with things planted in it, and what the learner notices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

    from services.learner.simulate_pool import Pool

_VOICES = (
    "kokoro:af_bella", "kokoro:am_adam", "kokoro:bf_emma", "kokoro:bm_fable", "kokoro:af_heart", "kokoro:bm_george",
    "flite:slt", "flite:rms", "flite:awb", "espeak:en-us+adam", "espeak:en-us+f2", "espeak:en-gb-x-rp+david",
)  # fmt: skip
_NAMES = "olga kurylenko,chuck palahniuk"
_AUGMENT = Path(__file__).parents[2] / "data" / "augment" / "car-eval.yaml"


def simulate(
    *,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="What happens, as in --set queries_a_day=500; may be repeated."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Thresholds of the learner; default: data/learner.yaml.")] = None,
    learner: Annotated[
        list[str] | None, typer.Option("--learner", help="One of them, as in --learner promotion.min_users=3.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the traffic.")] = 0,
    nothing: Annotated[int, typer.Option(min=0, help="Further months with nothing planted, each of another seed.")] = 3,
    pool: Annotated[Path | None, typer.Option(help="Recognitions to draw from; default: data/simulate.jsonl.")] = None,
    measure: Annotated[
        list[Path] | None,
        typer.Option("--measure", help="Make the pool first: manifests of ordinary queries; may be repeated."),
    ] = None,
    names: Annotated[str, typer.Option(help="With --measure: the planted name and the flooded one.")] = _NAMES,
    most: Annotated[int, typer.Option(min=10, help="With --measure: ordinary queries at most.")] = 48,
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="With --measure: what recognises.")] = "",
    picture: Annotated[Path | None, typer.Option("--picture", "-p", help="SVG file for the course.")] = None,
    table: Annotated[Path | None, typer.Option("--table", "-t", help="Markdown file for the table.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the figures.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Months at a time, a process each.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Simulate a month of traffic with a new name, a noisy spell and a flood by one user, and say when each is noticed.

    Traffic is drawn from real recognitions and goes through a real store, hour by hour of simulated time, past the
    same code that watches real traffic. Months with nothing planted count false alarms. Takes about a minute a month.

    Example: dengar simulate --nothing 5 -o work/simulate.json -p work/simulate.svg

    Example: dengar simulate --set name_day=3 --set noise_day=null --nothing 0

    Example: dengar data synth data/voice-search-dev.yaml -o work/vs && dengar simulate --measure work/vs/manifest.jsonl
    """
    import json
    import multiprocessing
    import tempfile
    from concurrent.futures import ProcessPoolExecutor

    from asr.config import make_config
    from services.learner import simulate_page
    from services.learner.config import load_learner_config
    from services.learner.simulate import SimulateConfig
    from services.learner.simulate import simulate as run
    from services.learner.simulate_pool import DEFAULT, read_pool

    settings = make_config(SimulateConfig, {"seed": seed}, "--set", tuple(set_ or ()))
    thresholds = load_learner_config(config, tuple(learner or ()))
    if measure:
        _measure(measure, [name.strip() for name in names.split(",")], most, bundle, pool or DEFAULT, seed)
    drawn: Pool = read_pool(pool)
    months = [settings, *(settings.nothing(settings.seed + 1 + number) for number in range(nothing))]
    with tempfile.TemporaryDirectory(prefix="dengar-simulate-") as folder, output.progress() as progress:
        if jobs == 1:
            found = []
            for month in months:
                task = progress.add_task(f"month of seed {month.seed}", total=month.days * 24)
                found.append(run(month, drawn, thresholds, Path(folder), _to(progress, task)))
        else:
            task = progress.add_task(f"{len(months)} months", total=len(months))
            with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as workers:
                done = [workers.submit(run, month, drawn, thresholds, Path(folder)) for month in months]
                for each in done:
                    each.add_done_callback(lambda _: progress.advance(task))
                found = [each.result() for each in done]
    result = simulate_page.to_json(found, drawn, thresholds)
    for path, text in (
        (out, json.dumps(result, indent=1) + "\n"),
        (table, simulate_page.to_markdown(found, drawn)),
        (picture, simulate_page.to_svg(found[0]) if picture else ""),
    ):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if json_:
        output.emit_json(result)
    else:
        output.console.print(simulate_page.to_markdown(found, drawn), highlight=False, markup=False, soft_wrap=True)


def _to(progress: Progress, task: TaskID) -> Callable[[int, int], None]:
    return lambda done, _: progress.update(task, completed=done)


def _measure(manifests: list[Path], names: list[str], most: int, bundle: str, pool: Path, seed: int) -> None:
    """Makes the pool of recognitions."""
    from asr.corpus import read_manifest
    from asr.corpus.manifest import AudioReader
    from asr.errors import InputError
    from asr.recognize import Recognizer
    from services.learner.simulate_pool import measure, write_pool

    found = [read_manifest(path) for path in manifests]
    for manifest in found:
        for problem in manifest.problems[:10]:
            output.warn(f"{problem.where}: {problem.reason}")
    every = [(manifest, utterance) for manifest in found for utterance in manifest.utterances if utterance.text]
    chosen = every[:: max(1, len(every) // most)][:most]
    if not chosen:
        raise InputError(f"{', '.join(map(str, manifests))}: no utterance has a transcript")
    recordings = [(utterance.text, AudioReader(manifest.root).read(utterance)) for manifest, utterance in chosen]
    recognizer = Recognizer.open(bundle or None)
    with output.progress() as progress:
        task = progress.add_task("recognising", total=None)
        items = measure(
            recognizer, recordings, names, _VOICES, augment=_AUGMENT, seed=seed,
            report=lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip
    source = {
        "bundle": recognizer.bundle_hash,
        "manifests": [str(path) for path in manifests],
        "recordings": len(recordings),
        "names": names,
        "voices": list(_VOICES),
        "seed": seed,
    }
    write_pool(pool, source, items)
