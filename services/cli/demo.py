"""`dengar demo`: the whole cycle on real input, by the very commands a person would type."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from services.demo.live import Heard
    from services.demo.loop import Story
    from services.demo.stages import Clock

WORK = Path("work/demo")
MAX_WER = 0.25
"""Of the model trained here, in quiet; above this the demo has failed."""

PROMPT_TEXTS = Path("data/prompts.yaml")
NEEDED = (Path("data/demo-train.yaml"), Path("data/demo-test.yaml"), Path("experiments/demo.yaml"), PROMPT_TEXTS)
DEV_RECIPE, DEV_UTTERANCES = "data/demo-test.yaml", 24
LM_ORDER = 3
QUERIES = 4


def demo(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")] = WORK,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that synthesise speech.")] = 2,
    minutes: Annotated[float | None, typer.Option(min=0.05, help="Of training, if not the experiment's.")] = None,
    share: Annotated[float, typer.Option(min=0.005, max=1.0, help="Share of the data, for a quick look.")] = 1.0,
    bundle: Annotated[
        str, typer.Option(help="What is served: folder, hash or alias; default: the shipped bundle.")
    ] = "",
) -> int:
    """Walk the whole cycle: synthesise, look, augment, train, evaluate, serve, stream.

    Every stage is one of the other commands and is printed as you would type it. Exits with 1 if the model that is
    trained here makes more than 25 % word errors in quiet on voices and sentences it never heard.

    Example: dengar demo
    """
    from asr.errors import ConfigError
    from services.demo.stages import Clock

    missing = [str(path) for path in NEEDED if not path.is_file()]
    if missing:
        raise ConfigError(f"the demo needs {', '.join(missing)}: run it in a clone of the repository")
    clock = Clock(output.console)
    begun_s = time.monotonic()
    with clock.stage("Synthesise a small voice-search corpus with many voices", 150):
        _synthesise(out, jobs, share)
    with clock.stage("Look at the data", 40):
        _command(
            "data",
            "report",
            f"{out}/train/manifest.jsonl",
            "-o",
            f"{out}/data.html",
            "--augment",
            "car",
            "--sample",
            "400",
        )
    with clock.stage("Put some of it into a car", 60):
        shutil.rmtree(out / "car", ignore_errors=True)
        limit = str(max(1, round(800 * share)))
        _command("data", "augment", f"{out}/train/manifest.jsonl", "-o", f"{out}/car", "--limit", limit, "--compare")
    with clock.stage("Train a small model from scratch", 300):
        _train(out, minutes)
    with clock.stage("Evaluate it on held-out voices and sentences, in quiet and in the car", 60):
        quiet, car = _evaluate(out)
    with clock.stage("Serve the default bundle and speak to it", 75):
        heard = _converse(out, bundle)
    with clock.stage("Speech to judge by, for who has no corpora", 200):
        _command("learn", "prepare", "--train", "0", "--dev", str(max(8, round(150 * share))), "--jobs", str(jobs))
    with clock.stage("A name that nobody taught it is noticed, learned, tested and live", 240):
        story = _loop(out, jobs)
    _summary(out, clock, time.monotonic() - begun_s, quiet, car, heard)
    _story(story)
    if not story.holds:
        output.fail(f"the demo has failed: {story.name!r} did not go from unknown to recognised")
        return 1
    if quiet > MAX_WER:
        output.fail(f"the demo has failed: {quiet:.1%} word errors in quiet, more than {MAX_WER:.0%}")
        return 1
    return 0


def _command(*arguments: str) -> None:
    """Runs another command of ours in this process, having shown it.

    Raises:
        DengarError: it ended with another code than 0.
    """
    from asr.errors import DengarError
    from services.cli.main import main

    line = shlex.join(["dengar", *arguments])
    output.console.print(f"$ {line}", style="cyan", markup=False, highlight=False, soft_wrap=True)
    code = main(list(arguments))
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise DengarError(f"the demo stops: `{line}` ended with exit code {code}")


def _synthesise(out: Path, jobs: int, share: float) -> None:
    from asr.synth.recipe import read_recipe

    for split, recipe in (("train", "data/demo-train.yaml"), ("dev", DEV_RECIPE), ("test", DEV_RECIPE)):
        wanted = DEV_UTTERANCES if split == "dev" else read_recipe(recipe).count
        options = ["--voices", split, "--count", str(max(2, round(wanted * share)))]
        _command("data", "synth", recipe, "-o", f"{out}/{split}", "--jobs", str(jobs), *options)


def _train(out: Path, minutes: float | None) -> None:
    shutil.rmtree(out / "run", ignore_errors=True)  # else the finished run would be found and nothing trained
    changes = [f"max_minutes={minutes}"] if minutes is not None else []
    if out != WORK:
        changes.append(f"data.train=[{out}/train/manifest.jsonl, {out}/car/manifest.jsonl]")
        changes.append(f"data.dev=[{out}/dev/manifest.jsonl]")
    options = [part for change in changes for part in ("--set", change)]
    _command("train", "experiments/demo.yaml", "-o", f"{out}/run", "--mlflow", f"sqlite:///{out}/mlflow.db", *options)


def _evaluate(out: Path) -> tuple[float, float]:
    """Word error rates in quiet and in the car at 5 dB, of the trained model with a language model of its domain."""
    from asr.corpus.manifest import read_manifest
    from asr.decode.lm_build import estimate, write_arpa
    from asr.evaluate import Evaluation

    sentences = {utterance.text for utterance in read_manifest(out / "train" / "manifest.jsonl").utterances}
    write_arpa(estimate(sorted(sentences), order=LM_ORDER), out / "lm.arpa")
    shutil.rmtree(out / "bundles", ignore_errors=True)
    _command("bundle", "build", f"{out}/run", "--lm", f"{out}/lm.arpa", "-o", f"{out}/bundles", "--alias", "demo")
    built = out / "bundles" / (out / "bundles" / "demo").read_text(encoding="utf-8").strip()
    test, results = f"{out}/test/manifest.jsonl", out / "results"
    _command("evaluate", test, "--bundle", str(built), "--snr", "clean,10,5", "-o", str(results))
    evaluation = Evaluation.from_json(json.loads((results / "evaluation.json").read_text(encoding="utf-8")))
    # No rate means no words were spoken; that is no success either.
    by_snr = {
        part.value: 1.0 if part.wer.value is None else part.wer.value
        for part in evaluation.slices
        if part.dimension == "snr"
    }
    return by_snr["clean"], by_snr["5 dB"]


def _converse(out: Path, bundle: str) -> list[Heard]:
    from services.demo.live import listen, prompts, queries
    from services.load.server import served

    people = prompts(PROMPT_TEXTS)
    if not people:
        package = "asterisk-core-sounds-en-g722"
        output.warn(f"no human is heard: Debian's recorded prompts are not installed; run: apt-get install {package}")
    spoken = [*people, *queries(out / "test" / "manifest.jsonl", QUERIES)]
    output.console.print("$ dengar serve", style="cyan", highlight=False)
    with served(*(["--bundle", bundle] if bundle else [])) as server:
        output.console.print(
            f"serving at {server.address}; {len(people)} human recordings, {QUERIES} queries", highlight=False
        )
        heard = listen(server.address, spoken, output.console)
    output.console.print("the server has stopped", highlight=False)
    return heard


def _loop(out: Path, jobs: int) -> Story:
    from services.demo.loop import tell_story

    shutil.rmtree(out / "loop", ignore_errors=True)  # else the name would be known already
    return tell_story(out / "loop", output.console, jobs)


def _story(story: Story) -> None:
    say = output.console.print
    say()
    how = "noticed by itself" if story.noticed else "added by hand"
    say(
        f"The name {story.name!r}: {how} and served {story.noticed_s:.0f} s after the first query, learned for good "
        f"and live after {story.live_s:.0f} s; the server never stopped.",
        highlight=False,
        soft_wrap=True,
    )


def _summary(out: Path, clock: Clock, total_s: float, quiet: float, car: float, heard: Sequence[Heard]) -> None:
    import jiwer

    say = output.console.print
    live_wer = jiwer.wer([one.recording.text for one in heard], [one.text for one in heard])
    slowest_ms = max(one.final_latency_s for one in heard) * 1000
    say()
    output.console.rule("[bold]What came of it", align="left")
    say(f"The model trained here: word errors {quiet:.1%} in quiet, {car:.1%} in the car at 5 dB.", highlight=False)
    say(
        f"The default bundle, live: word errors {live_wer:.1%} on {len(heard)} recordings; "
        f"the final words came at most {slowest_ms:.0f} ms after the last sound.",
        highlight=False,
        soft_wrap=True,
    )
    say()
    say(clock.table())
    say(f"from start to end {total_s / 60:.1f} minutes", highlight=False)
    say()
    for path, what in (
        ("data.html", "the data report: open it in a browser"),
        ("car/compare.html", "before and after the car, to hear"),
        ("run/", "the training run: configuration, history, checkpoints"),
        ("results/report.html", "the error report, in quiet and in the car"),
        ("bundles/", "the trained model, ready to serve"),
    ):
        say(f"  {out / path}".ljust(36) + what, highlight=False, soft_wrap=True)
    say()
    say("Try next:", style="bold")
    for line in (
        f"dengar transcribe {out}/test/audio/*.flac --bundle {out}/bundles/*/",
        "dengar serve & dengar stream mic",
        f"dengar compare --manifest {out}/test/manifest.jsonl default {out}/bundles/*/ -o {out}/compare.html",
        "dengar doctor",
    ):
        say(f"  {line}", markup=False, highlight=False, soft_wrap=True)
