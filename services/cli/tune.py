"""`dengar tune`: many small trainings from one file, and the table of what they brought."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.tune.run import Row, Status


def tune(
    config: Annotated[Path, typer.Argument(help="YAML of the experiments, for example experiments/tune/small.yaml.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder; experiments found there are continued. Default: work/tune/NAME."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Trials at a time, a process each.")] = 1,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override, as in --set set.max_steps=50; may be repeated.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the table as one JSON object.")] = False,
) -> int:
    """Trains every trial of a file, searches with Optuna where it asks for that, and keeps table.md and table.json.

    Stop it any time, also by kill -9: the same command goes on, finished trials are kept and the others continue
    from their last checkpoints. Failed trials stand in the table with their reason, and the exit code is 1.

    Example: dengar tune experiments/tune/small.yaml -o work/tune/small --jobs 2
    """
    from asr.tune.config import load_tune_config
    from asr.tune.run import Tuner
    from asr.tune.table import to_json, to_markdown
    from asr.tune.trial import write_json

    settings = load_tune_config(config, tuple(set_ or ()))
    folder = out or Path("work/tune") / settings.name
    search = None
    if settings.search is not None:
        from asr.tune.search import Search

        search = Search(settings.search, folder, settings.objective)

    def write(rows: list[Row]) -> dict[str, Any]:
        table = to_json(rows, settings.name)
        write_json(folder / "table.json", table)
        (folder / "table.md").write_text(to_markdown(table), encoding="utf-8")
        return table

    with _Display(settings.name) as display:
        rows = Tuner(settings, folder, jobs, display.update, write).run(search)
    table = write(rows)
    if json_:
        output.emit_json(table)
    else:
        output.console.print(to_markdown(table), highlight=False, markup=False, soft_wrap=True)
        output.console.print(f"table: {folder / 'table.md'}", highlight=False, soft_wrap=True)
    failed = [row for row in rows if row.failure and not row.failure.startswith("pruned")]
    for row in failed:
        output.warn(f"trial {row.name} failed: {row.failure}")
    return 1 if failed else 0


class _Display:
    """A live line on a terminal: trials done, and the steps of those that run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._progress = output.progress()
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, status: Status) -> None:
        running = ", ".join(f"{name} step {step}" for name, step in status.running.items())
        self._progress.update(
            self._task, total=status.total, completed=status.done, description=f"{self._name}: {running}"
        )
