"""`dengar data synth`: text to speech, one sentence or a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.errors import ConfigError
from services.cli import output

if TYPE_CHECKING:
    from asr.synth.recipe import SynthRecipe


def synth(
    recipe: Annotated[Path | None, typer.Argument(help="A YAML file such as data/demo-train.yaml.")] = None,
    *,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder of the corpus, or file for --text.")] = None,
    engine: Annotated[str | None, typer.Option(help="Speak all with espeak, flite or kokoro.")] = None,
    voices: Annotated[str | None, typer.Option(help="Of this split: train, dev or test.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="This many utterances in all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    text: Annotated[str | None, typer.Option(help="Speak this one sentence.")] = None,
    voice: Annotated[str, typer.Option(help="Who speaks --text; see --list.")] = "flite:slt",
    speed: Annotated[float, typer.Option(help="Of --text; 2 is twice as fast.")] = 1.0,
    pitch: Annotated[float, typer.Option(help="Of --text; a factor (espeak and flite).")] = 1.0,
    vocal_tract: Annotated[
        float, typer.Option(help="Of --text; 1.15 is a larger, 0.85 a smaller head, at the same pitch.")
    ] = 1.0,
    list_voices: Annotated[bool, typer.Option("--list", help="List every voice and its split.")] = False,
    install: Annotated[bool, typer.Option("--install", help="Fetch Kokoro once (90 MB).")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Synthesise speech with many voices. A run that was stopped goes on where it stood.

    Example: dengar data synth data/demo-train.yaml -o work/demo/train --jobs 2

    One sentence: dengar data synth --text "play some jazz" --voice kokoro:af_bella -o jazz.wav

    The natural voices, once: dengar data synth --install
    """
    if install:
        _install(as_json=json_)
    elif list_voices:
        _list(as_json=json_)
    elif text is not None:
        if recipe is not None:
            raise ConfigError("give either a recipe or --text, not both")
        _sentence(text, voice, _needed(out), (speed, pitch, vocal_tract), as_json=json_)
    elif recipe is not None:
        changed = _changed(recipe, engine=engine, split=voices, count=count, seed=seed)
        _corpus(changed, _needed(out), jobs, as_json=json_)
    else:
        raise ConfigError("say what to synthesise: a recipe, --text, --list or --install; see dengar data synth --help")


def heldout_names(
    names: Annotated[Path, typer.Argument(help="A name a line, or a table (.csv, .tsv).")],
    *,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", "-t", help="Text, manifest or grammar that training may use; may be repeated."),
    ] = None,
    column: Annotated[str, typer.Option(help="Of the table.")] = "name",
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the names that stand in no text.")] = 0.5,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write them there, a name a line.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Chooses the names that no training may meet, for a test of names nobody has taught the recogniser.

    Held out are names whose last word stands in none of the texts, and of those a share by a hash of the name. The
    file serves as exclude_names in a recipe.

    Example: dengar data heldout-names people.csv -t queries.tsv.gz -t train.jsonl -o heldout.txt
    """
    from asr.synth.names import held_out_names, read_names
    from asr.synth.sources import known_sentences

    listed = read_names(names, column)
    known = (sentence for path in text or () for sentence in known_sentences(path))
    chosen = set(held_out_names((name.text for name in listed.names), known, share))
    lines = [name.written for name in listed.names if name.text in chosen]
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if json_:
        left_out = dict(listed.left_out)
        output.emit_json({"names": len(listed.names), "held_out": len(lines), "left_out": left_out, "list": lines})
    elif out:
        output.console.print(
            f"{out}: {len(lines)} of {len(listed.names)} names held out", highlight=False, soft_wrap=True
        )
    else:
        output.console.print("\n".join(lines), highlight=False, markup=False)


def _needed(out: Path | None) -> Path:
    if out is None:
        raise ConfigError("say where to write with -o")
    return out


def _install(*, as_json: bool) -> None:
    from asr.synth import assets

    fetched = assets.install(lambda step: output.messages.print(step, highlight=False))
    folder = assets.cache_folder() / "kokoro"
    if as_json:
        output.emit_json({"folder": str(folder), "fetched": fetched})
    else:
        output.console.print(
            f"Kokoro {'is now' if fetched else 'was already'} in {folder}", highlight=False, soft_wrap=True
        )


def _list(*, as_json: bool) -> None:
    import dataclasses

    from asr.synth import catalogue

    rows = [{"id": voice.id, **dataclasses.asdict(voice)} for voice in catalogue() if voice.split != "unused"]
    for row in rows:
        if as_json:
            output.emit_json(row)
        else:
            line = f"{row['id']:<28} {row['split']:<6} {row['gender']:<7} {row['accent']}"
            output.console.print(line, highlight=False)


def _sentence(text: str, voice: str, out: Path, factors: tuple[float, float, float], *, as_json: bool) -> None:
    from asr import audio
    from asr.synth.generate import speak_text

    samples = speak_text(text, voice, *factors)
    audio.save(out, samples)
    duration_s = len(samples) / audio.SAMPLE_RATE_HZ
    if as_json:
        output.emit_json({"file": str(out), "duration_s": round(duration_s, 3), "voice": voice, "text": text})
    else:
        output.console.print(f"{out}: {duration_s:.1f} s by {voice}", highlight=False, soft_wrap=True)


def _changed(path: Path, *, engine: str | None, split: str | None, count: int | None, seed: int | None) -> SynthRecipe:
    """The recipe of a file with the changes of the command line."""
    from asr.synth import SPLITS
    from asr.synth.recipe import read_recipe

    recipe = read_recipe(path)
    if split is not None and split not in SPLITS:
        raise ConfigError(f"--voices must be {', '.join(SPLITS)}, found {split!r}")
    changes = {key: value for key, value in (("split", split), ("seed", seed)) if value is not None}
    recipe = recipe.model_copy(update=changes)
    recipe = recipe.spoken_by(engine) if engine else recipe
    return recipe.scaled(count) if count else recipe


def _corpus(recipe: SynthRecipe, out: Path, jobs: int, *, as_json: bool) -> None:
    from asr.synth.generate import generate

    with output.progress() as bar:
        task = bar.add_task(f"speaking {recipe.corpus} ({recipe.split})", total=recipe.count)
        report = generate(recipe, out, jobs, lambda done, total: bar.update(task, completed=done, total=total))
    for missing, instead in report.replaced.items():
        output.warn(f"{missing} is not installed, so {instead} spoke in its place; run: dengar data synth --install")
    if report.left_out:
        counted = ", ".join(f"{count} {reason}" for reason, count in report.left_out.items())
        output.warn(f"left out of what was drawn: {counted}")
    if as_json:
        output.emit_json(
            {
                "manifest": str(report.manifest),
                "utterances": report.utterances,
                "hours": round(report.duration_s / 3600, 4),
                "voices": report.voices,
                "made": report.made,
                "kept": report.kept,
                "engines": report.engines,
                "replaced": report.replaced,
                "left_out": report.left_out,
            }
        )
    else:
        output.console.print(
            f"{report.manifest}: {report.utterances} utterances, {report.duration_s / 60:.1f} minutes, "
            f"{report.voices} voices ({report.made} made, {report.kept} kept)",
            highlight=False,
        )
