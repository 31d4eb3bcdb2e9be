"""`dengar data cabin`: the cabin simulator against what is published about cars."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.augment.validate import Validation

NUMBERS_FILE = "car-cabin.json"


def cabin(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=f"Folder for the figures (car-*.svg) and {NUMBERS_FILE}.")
    ] = None,
    drives: Annotated[int, typer.Option(min=1, help="Simulated drives at each speed.")] = 12,
    length_s: Annotated[float, typer.Option(min=2.0, max=120.0, help="Seconds of each.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print everything measured as one JSON object.")] = False,
) -> None:
    """Measures spectrum, level, steadiness and engine orders of the simulated cabin, beside published figures.

    The exit code is 0 whether they agree or not: docs/car.md says what follows from a difference.

    Example: dengar data cabin -o docs
    """
    from asr.augment.validate import validate

    validation = validate(drives, length_s, seed)
    if out is not None:
        _write(out, validation)
    if json_:
        output.emit_json(validation.to_json())
    else:
        _print(validation)


def _write(folder: Path, validation: Validation) -> None:
    from asr.augment.figures import figures
    from asr.errors import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures(validation).items():
            (folder / f"{name}.svg").write_text(figure, encoding="utf-8")
        (folder / NUMBERS_FILE).write_text(json.dumps(validation.to_json(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror or error})") from error


def _print(validation: Validation) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("property")
    for name in ("measured", "published"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("source")
    for finding in validation.findings:
        low, high = (("" if edge is None else f"{edge:g}") for edge in (finding.low, finding.high))
        published = (f"{low} to {high}" if low and high else f"≥ {low}" if low else f"≤ {high}") if low != high else low
        table.add_row(
            f"{finding.name} [{finding.unit}]".replace(" []", "").replace("[", r"\["),
            f"{finding.measured:.4g}",
            published,
            finding.source,
            style=None if finding.agrees else "yellow",
        )
    output.console.print(table)
    agree = sum(finding.agrees for finding in validation.findings)
    output.console.print(f"{agree} of {len(validation.findings)} agree with what is published", highlight=False)
