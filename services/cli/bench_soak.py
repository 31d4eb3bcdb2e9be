"""`dengar bench soak`: a server among callers of every kind, for a long time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from services.load.soak import Soak


def bench_soak(
    *,
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="Folder, hash or alias of what is served.")] = "",
    minutes: Annotated[float, typer.Option(min=0.05, help="How long callers come.")] = 20.0,
    callers: Annotated[int, typer.Option(min=1, help="At once.")] = 40,
    seed: Annotated[int, typer.Option(help="Of who behaves how.")] = 0,
    swap_s: Annotated[
        float, typer.Option(min=0, help="A twin of the bundle is made live, and the bundle again, so often; 0: never.")
    ] = 60.0,
    option: Annotated[
        list[str] | None,
        typer.Option("--serve", help="Option of dengar serve, as in --serve=--max-streams=30; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the figures.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Lets callers that speak, hurry, crumble, dawdle, vanish, hang up, garble and never read come and go.

    Meanwhile the live bundle is swapped. Exits with 1 if a call ended as its behaviour does not allow, if the server
    still holds streams or bundles when all are gone, if an ordinary query is then answered otherwise than before, or
    if its memory grows.

    Example: dengar bench soak --minutes 20 -o work/soak.json
    """
    import asyncio
    import json
    import tempfile

    from asr.bundle import find_bundle
    from services.cli.bench_load import queries_of
    from services.load.server import served
    from services.load.soak import Swaps, soak
    from services.load.twins import twin_of

    path = find_bundle(bundle or None)
    arguments = ["--bundle", str(path), "--max-streams", str(callers * 2), *(option or [])]
    with (
        output.progress() as progress,
        tempfile.TemporaryDirectory(prefix="dengar-soak-") as folder,
        served("--state", f"{folder}/state", *arguments) as server,
    ):
        task = progress.add_task("soak", total=minutes * 60)

        def report(found: Soak) -> None:
            shown = f"{found.messages} messages, {found.memory_bytes[-1] / 2**20:.0f} MB, {found.unexpected} unexpected"
            progress.update(task, completed=len(found.memory_bytes) * 5, description=shown)

        swaps = Swaps((str(path), str(twin_of(path, Path(folder)))), swap_s) if swap_s else None
        found = asyncio.run(
            soak(server, queries_of(None), minutes * 60, callers, seed=seed, swaps=swaps, report=report)
        )
    settings = {"minutes": minutes, "callers": callers, "seed": seed, "swap_s": swap_s, "serve": option or []}
    result = {"settings": settings, "bundle": server.bundle, **found.to_json()}
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    if json_:
        output.emit_json(result)
    else:
        _show(found)
    return 1 if found.faults else 0


def _show(found: Soak) -> None:
    say = output.console.print
    for name, tally in found.behaviours.items():
        statuses = ", ".join(f"{status} {count}" for status, count in sorted(tally.statuses.items()))
        wrong = f"  [red]{tally.unexpected} unexpected[/red]" if tally.unexpected else ""
        say(f"{name:16} {tally.calls:6d} calls {tally.messages:8d} messages  {statuses}{wrong}", highlight=False)
    memory = found.memory_bytes or [0]
    swapped = ", ".join(f"{status} {count}" for status, count in sorted(found.swaps.items())) or "none"
    say(
        f"{found.messages} messages in {found.seconds / 60:.1f} minutes; {found.cpu_s:.0f} processor seconds; "
        f"swaps: {swapped}",
        highlight=False,
    )
    growth = "too short to tell whether it grows"
    if found.growth is not None:
        slope, low, high = (each / 2**20 for each in (found.growth.per_hour, found.growth.low, found.growth.high))
        growth = f"{slope:+.1f} MB an hour after the warm-up (95 % interval {low:+.1f} to {high:+.1f})"
    say(
        f"memory {memory[0] / 2**20:.0f} MB at first, {memory[-1] / 2**20:.0f} MB at last, "
        f"{max(memory) / 2**20:.0f} MB at most, {growth}; threads {min(found.threads, default=0)} to "
        f"{max(found.threads, default=0)}, open files {min(found.files, default=0)} to {max(found.files, default=0)}",
        highlight=False,
    )
    say("; ".join(found.faults) or "nothing is left behind, and it answers as before", highlight=False)
