"""`dengar bundle card|lexicon`: the model card from measurements, and the words a bundle knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli import output

Name = Annotated[str, typer.Argument(help="Folder, hash or alias of the bundle; default: the shipped one.")]


def card(
    bundle: Name = "",
    *,
    results: Annotated[
        list[Path] | None, typer.Option("--results", "-r", help="Results folder of `dengar evaluate -o`; repeatable.")
    ] = None,
    training: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a run, or JSON with a list 'training'; repeatable, in the order of the steps."),
    ] = None,
    check: Annotated[Path | None, typer.Option(help="Result of `dengar bundle check -o`.")] = None,
    notes: Annotated[Path | None, typer.Option(help="Markdown to put first: what no measurement knows.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default: the bundle's card.")] = None,
) -> None:
    """Writes a bundle's model card from results, training records and the bundle itself.

    The card is no part of the bundle's hash, so that it can be written when the bundle has been measured.

    Example: dengar bundle card default -r work/results/clean -r work/results/car --training experiments/default.json
    """
    import json

    from asr.bundle import CARD, load_bundle
    from asr.card import measure, model_card, read_training
    from asr.errors import InputError
    from asr.evaluate import Results

    loaded = load_bundle(bundle or None)
    known = frozenset(loaded.lexicon()) or None
    measured = [measure(folder.name, Results.read(folder), known) for folder in results or ()]
    runs = [run for path in training or () for run in read_training(path)]
    try:
        checked = json.loads(check.read_text(encoding="utf-8")) if check else None
        said = notes.read_text(encoding="utf-8") if notes else ""
    except (OSError, ValueError) as error:
        raise InputError(f"{check or notes}: cannot be read ({error})") from error
    path = out or loaded.path / CARD
    path.write_text(model_card(loaded, measured, runs, check=checked, notes=said), encoding="utf-8")
    output.console.print(str(path), highlight=False)


def lexicon(
    bundle: Name = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for the words, one a line.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the words as one JSON list.")] = False,
) -> None:
    """Lists the words that a bundle knows: the vocabulary of its language model; others it can spell.

    Example: dengar bundle lexicon -o work/words.txt
    """
    from asr.bundle import load_bundle
    from asr.errors import BundleError

    loaded = load_bundle(bundle or None)
    words = loaded.lexicon()
    if not words:
        raise BundleError(f"{loaded.path}: has no language model and so no lexicon; build it with --lm")
    if out:
        out.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    if json_:
        output.emit_json(list(words))
    elif not out:
        typer.echo("\n".join(words))
