"""`dengar store`: what is kept of queries, how long, and under which keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from datetime import datetime

    from services.store.database import Store

store_app = typer.Typer(help="Look at, move on, hand out and clean up what is kept of queries.", no_args_is_help=True)
Where = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="DENGAR_STORE",
        help="URL of the database (sqlite:///FILE, postgresql://USER@HOST/NAME), or a YAML file of store settings.",
        show_default="sqlite:///work/store/dengar.db",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def open_store(where: str, *, migrate: bool = False) -> Store:
    """The store that ``--store`` names; it is not made, nor its tables changed, unless that is asked for."""
    from asr.errors import ConfigError
    from services.store.config import load_store_config, parse_url
    from services.store.database import Store

    config = load_store_config(where)
    url = parse_url(config.url)
    if not migrate and url.drivername.startswith("sqlite") and not Path(url.database or "").is_file():
        raise ConfigError(f"there is no store at {url.database}; a server makes it, or dengar store migrate")
    return Store.of(config, migrate=migrate)


@store_app.command("status")
def status(*, store: Where = "", json: AsJson = False) -> None:
    """Count what the store holds: queries, users, recordings, names, jobs, what is to be deleted.

    Example: dengar store status --store sqlite:///work/store/dengar.db
    """
    from dataclasses import asdict

    from services.store.survey import survey

    opened = open_store(store)
    try:
        found = survey(opened)
    finally:
        opened.close()
    if json:
        times = {"oldest": _iso(found.oldest), "next_expiry": _iso(found.next_expiry)}
        output.emit_json(asdict(found) | times)
        return
    keeps = "encrypted" if found.encrypted else "not encrypted"
    _line("store", f"{found.store}, revision {found.revision}, {keeps}")
    _line("audio", f"{found.audio}: {found.recordings} recordings, {found.audio_mb:.1f} MB")
    _line("queries", f"{_counts(found.queries)}; {found.users} users; oldest {_date(found.oldest)}")
    _line("expiry", f"next {_date(found.next_expiry)}; {found.overdue} overdue; {found.to_remove} files to be deleted")
    _line("noticed", f"{found.spans} unknown spans, {found.feedback} feedback, {found.entities} entities")
    _line("names", _counts(found.names))
    _line("jobs", _counts(found.jobs))
    _line("bundles", _counts(found.bundles))
    _line("audit", f"{found.audit} entries")


@store_app.command("migrate")
def migrate(*, store: Where = "", json: AsJson = False) -> None:
    """Make the store, or bring an older one to this version's tables.

    Servers and workers do this when they start; a store from a newer version is refused.

    Example: dengar store migrate --store postgresql://dengar@db/dengar
    """
    from services.store import migrate as migrations
    from services.store.config import load_store_config, parse_url
    from services.store.engines import make_engine

    config = load_store_config(store)
    engine = make_engine(parse_url(config.url), config.busy_s)
    try:
        before, after = migrations.upgrade(engine)
    finally:
        engine.dispose()
    open_store(store, migrate=True).close()
    if json:
        output.emit_json({"before": before, "after": after})
    else:
        text = f"at revision {after} already" if before == after else f"brought from revision {before} to {after}"
        output.console.print(text, highlight=False, markup=False)


@store_app.command("expire")
def expire(
    *,
    store: Where = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    json: AsJson = False,
) -> int:
    """Delete what is past its time, finish what a crash left, sweep up recordings without a query.

    Safe while servers and workers run. `dengar learn run` does it too.

    Example: dengar store expire --dry-run
    """
    from dataclasses import asdict

    from services.store import retention

    opened = open_store(store)
    try:
        done = retention.expire(opened, dry_run=dry_run)
    finally:
        opened.close()
    if json:
        output.emit_json({"dry_run": dry_run, **asdict(done)})
    else:
        rows = done.deleted
        output.console.print(
            f"{'would delete' if dry_run else 'deleted'} {rows.queries} queries ({rows.recordings} with audio), "
            f"{rows.training_rows} training rows, {rows.exported} exported rows, {rows.names} names; "
            f"{done.files.gone} files and {done.strays} stray recordings are gone",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return tell_files(done.files.left, done.files.elsewhere)


@store_app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.", file_okay=False)],
    *,
    store: Where = "",
    since: Annotated[str | None, typer.Option(help="First day or time (UTC), such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Day or time (UTC) before which the last query was.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Only queries that seem to hold this name; id or text.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Queries at most, the newest.")] = None,
    json: AsJson = False,
) -> None:
    """Write consented queries with their audio and a manifest, for people to review.

    Retention and `dengar privacy forget` reach the folder as long as it stays where it is.

    Example: dengar store export work/review --since 2026-11-01 --name "john coltrane"
    """
    from services.store.export import export as hand_out

    first, last = _time(since, "--since"), _time(until, "--until")
    opened = open_store(store)
    try:
        with output.progress() as progress:
            task = progress.add_task("queries", total=None)
            done = hand_out(
                opened,
                folder,
                since=first,
                until=last,
                names=name or (),
                limit=limit,
                advance=lambda count, total: progress.update(task, completed=count, total=total),
            )
    finally:
        opened.close()
    if json:
        output.emit_json(
            {
                "id": done.id,
                "folder": str(done.folder),
                "recordings": done.recordings,
                "seconds": round(done.seconds, 3),
                "transcripts": done.transcripts,
                "left_out": done.left_out,
            }
        )
        return
    output.console.print(
        f"{done.recordings} recordings ({done.seconds:.1f} s) and {done.transcripts} transcripts in {done.folder}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for reason, count in done.left_out.items():
        output.warn(f"{count} left out: {reason}")


@store_app.command("new-key")
def new_key(
    file: Annotated[Path, typer.Argument(help="A new file; keep it apart from the store, and a copy.")],
) -> None:
    """Make a key that encrypts (or hashes users), in a file that only you can read.

    Without its keys an encrypted store cannot be read by anybody.

    Example: dengar store new-key /etc/dengar/encryption.keys
    """
    from services.store.keys import new_key_file

    new_key_file(file)
    output.console.print(f"a new key is in {file}", highlight=False, markup=False, soft_wrap=True)


@store_app.command("rekey")
def rekey(*, store: Where = "", json: AsJson = False) -> None:
    """Encrypt everything with the first key: to turn encryption on, or to replace a key.

    To replace one: put the new key first in the file, restart what uses the store, run this, take the old one out.

    Example: dengar store rekey --store store.yaml
    """
    from dataclasses import asdict

    from services.store.rekey import rekey as encrypt_all

    opened = open_store(store)
    try:
        with output.progress() as progress:
            task = progress.add_task("rows", total=None)
            done = encrypt_all(opened, advance=lambda rows: progress.update(task, advance=rows))
    finally:
        opened.close()
    if json:
        output.emit_json(asdict(done))
    else:
        output.console.print(
            f"encrypted {done.rows} rows and {done.recordings} recordings; the first key alone opens the store now",
            highlight=False,
            soft_wrap=True,
        )


def tell_files(left: int, elsewhere: int) -> int:
    """Warns of files that are still there; the exit code for that."""
    if elsewhere:
        output.warn(
            f"{elsewhere} copies lie in folders that are not on this machine; dengar store expire (or a worker) there "
            "deletes them"
        )
    if left:
        output.warn(f"{left} files could not be deleted yet; dengar store expire tries again")
    return 6 if left else 0


def _time(text: str | None, option: str) -> datetime | None:
    from datetime import UTC, datetime

    from asr.errors import ConfigError

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is no time; write 2026-11-25 or 2026-11-25T18:30") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _line(topic: str, text: str) -> None:
    output.console.print(f"{topic:<8} {text}", highlight=False, markup=False, soft_wrap=True)


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def _date(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M}" if when else "never"
