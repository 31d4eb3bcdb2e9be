"""`dengar privacy`: what a user may ask for."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import output
from services.cli.store import AsJson, Where, open_store, tell_files

privacy_app = typer.Typer(help="Forget users.", no_args_is_help=True)


@privacy_app.command("forget")
def forget(
    user: Annotated[str, typer.Argument(help="As the application names them (RecognitionConfig.user).")],
    *,
    store: Where = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    json: AsJson = False,
) -> int:
    """Delete all that is kept of a user, and name the bundles that were trained on it.

    Goes through queries, recordings, what was noticed in them, feedback, training rows and exports. Safe while servers
    and workers run: a job that is learning from the user begins anew, without. A bundle does not unlearn: retrain or
    withdraw those that are named. Exits with 6 if a file could not be deleted yet.

    Examples:
        dengar privacy forget user-4711 --dry-run

        dengar privacy forget user-4711 --yes --json
    """
    from dataclasses import asdict

    from services.store import retention

    opened = open_store(store)
    try:
        found = retention.forget(opened, user, dry_run=True)
        if not dry_run:
            if not yes:
                rows = found.deleted
                question = f"Delete {rows.queries} queries and {rows.recordings} recordings of {user} for good?"
                typer.confirm(question, abort=True, err=True)
            found = retention.forget(opened, user)
    finally:
        opened.close()
    if json:
        output.emit_json({"dry_run": dry_run, **asdict(found)})
    else:
        rows = found.deleted
        output.console.print(
            f"{'would delete' if dry_run else 'deleted'} {rows.queries} queries, {rows.recordings} recordings, "
            f"{rows.spans} unknown spans, {rows.feedback} feedback, {rows.mentions} mentions, {rows.training_rows} "
            f"training rows, {rows.exported} exported rows and {rows.names} names",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        for job in found.jobs:
            output.console.print(f"job {job[:8]} begins anew", highlight=False, markup=False)
        for bundle in found.bundles:
            text = f"bundle {bundle} learned from this user: retrain or withdraw it"
            output.console.print(text, highlight=False, markup=False, soft_wrap=True)
    return tell_files(found.files.left, found.files.elsewhere)
