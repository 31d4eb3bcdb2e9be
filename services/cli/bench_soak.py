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
    option: Annotated[
        list[str] | None,
        typer.Option("--serve", help="Option of dengar serve, as in --serve=--max-streams=30; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the figures.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Lets callers that speak, hurry, crumble, dawdle, vanish, garble and never read come and go.

    Exits with 1 if a call ended as its behaviour does not allow, if the server still holds streams when all are
    gone, or if an ordinary query is then answered otherwise than before.

    Example: dengar bench soak --minutes 20 -o work/soak.json
    """
    import asyncio
    import json

    from asr.bundle import find_bundle
    from services.cli.bench_load import queries_of
    from services.load.server import served
    from services.load.soak import soak

    with (
        output.progress() as progress,
        served(
            "--bundle", str(find_bundle(bundle or None)), "--max-streams", str(callers * 2), *(option or [])
        ) as server,
    ):
        task = progress.add_task("soak", total=minutes * 60)

        def report(found: Soak) -> None:
            shown = f"{found.messages} messages, {found.memory_bytes[-1] / 2**20:.0f} MB, {found.unexpected} unexpected"
            progress.update(task, completed=len(found.memory_bytes) * 5, description=shown)

        found = asyncio.run(soak(server, queries_of(None), minutes * 60, callers, seed=seed, report=report))
    result = {**found.to_json(), "bundle": server.bundle}
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if json_:
        output.emit_json(result)
    else:
        _show(found)
    return 1 if found.unexpected or found.streams_left or not found.answered_after else 0


def _show(found: Soak) -> None:
    say = output.console.print
    for name, tally in found.behaviours.items():
        statuses = ", ".join(f"{status} {count}" for status, count in sorted(tally.statuses.items()))
        wrong = f"  [red]{tally.unexpected} unexpected[/red]" if tally.unexpected else ""
        say(f"{name:14} {tally.calls:6d} calls {tally.messages:8d} messages  {statuses}{wrong}", highlight=False)
    memory = found.memory_bytes or [0]
    after = "as before" if found.answered_after else "otherwise"
    say(
        f"{found.messages} messages in {found.seconds / 60:.1f} minutes; memory {memory[0] / 2**20:.0f} MB at first, "
        f"{memory[-1] / 2**20:.0f} MB at last, {max(memory) / 2**20:.0f} MB at most, slope of the second half "
        f"{found.growth_bytes_per_hour / 2**20:+.1f} MB an hour; {found.cpu_s:.0f} processor seconds; "
        f"{found.streams_left} streams left behind; afterwards it answers {after}",
        highlight=False,
    )
