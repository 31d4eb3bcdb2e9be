"""`dengar keys`: the API keys of a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from services.recognizer.keys import Key

keys_app = typer.Typer(help="Make, list and revoke the API keys of a server.", no_args_is_help=True)
File = Annotated[
    Path,
    typer.Option("--keys", envvar="DENGAR_KEYS", help="The file; `dengar serve --keys` reads it.", dir_okay=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@keys_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Who gets it; quotas are counted by name.")],
    *,
    keys: File,
    admin: Annotated[bool, typer.Option("--admin", help="May also change what the server serves.")] = False,
    expires_days: Annotated[float | None, typer.Option(min=0, help="Days after which it is refused.")] = None,
    streams: Annotated[int | None, typer.Option(min=1, help="Calls at once.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Calls begun in a minute.")] = None,
    audio_s_per_day: Annotated[float | None, typer.Option(min=1, help="Seconds of audio in a day (UTC).")] = None,
    json: AsJson = False,
) -> None:
    """Make a key and print it, once: the file keeps only its hash.

    A running server knows it at once. A name may have two valid keys, so that a new one can be handed out before the
    old one is revoked; the second has the role and the quotas of the first unless others are given.

    Example: dengar keys new phones --keys keys.json --streams 50 --expires-days 365
    """
    from datetime import UTC, datetime, timedelta

    from services.recognizer.keys import new_key
    from services.recognizer.quotas import Quotas

    bounds = (streams, requests_per_minute, audio_s_per_day)
    quotas = None
    if any(bound is not None for bound in bounds):
        quotas = Quotas(streams=streams, requests_per_minute=requests_per_minute, audio_s_per_day=audio_s_per_day)
    expires = None
    if expires_days is not None:
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=expires_days)
    secret, entry = new_key(keys, name, role="admin" if admin else None, expires=expires, quotas=quotas)
    if json:
        output.emit_json({"key": secret, **_row(entry)})
        return
    output.console.print(secret, highlight=False, soft_wrap=True, markup=False)
    output.messages.print(
        f"a key for {entry.name}, role {entry.role}, id {entry.id}; it is shown this once, {keys} has only its hash",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


@keys_app.command("list")
def show(*, keys: File, json: AsJson = False) -> None:
    """List the keys: whose, since when, until when, what they may.

    Example: dengar keys list --keys keys.json
    """
    from rich.table import Table

    from services.recognizer.keys import read_keys

    entries = read_keys(keys)
    if json:
        output.emit_json([_row(entry) for entry in entries])
        return
    table = Table("name", "id", "role", "created", "expires", "quotas", box=None)
    for entry in entries:
        row = _row(entry)
        expires = f"{entry.expires:%Y-%m-%d}{' (expired)' if entry.has_expired() else ''}" if entry.expires else "never"
        quotas = ", ".join(f"{name} {value:g}" for name, value in row["quotas"].items()) or "none"
        table.add_row(entry.name, entry.id, entry.role, f"{entry.created:%Y-%m-%d}", expires, quotas)
    output.console.print(table)


@keys_app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Whose keys.")],
    *,
    keys: File,
    key_id: Annotated[str | None, typer.Option("--id", help="Only the key with this id.")] = None,
    json: AsJson = False,
) -> None:
    """Revoke the keys of a name, or one of them; a running server refuses them at its next call.

    Example: dengar keys revoke phones --keys keys.json --id 3f9a1c2e
    """
    from services.recognizer.keys import revoke_keys

    gone = revoke_keys(keys, name, key_id)
    if json:
        output.emit_json([_row(entry) for entry in gone])
        return
    for entry in gone:
        output.console.print(f"revoked {entry.id} of {entry.name}", highlight=False, soft_wrap=True, markup=False)


def _row(entry: Key) -> dict[str, Any]:
    """An entry for JSON, without its hash."""
    from dataclasses import asdict

    return {
        "id": entry.id,
        "name": entry.name,
        "role": entry.role,
        "created": entry.created.isoformat(),
        "expires": entry.expires.isoformat() if entry.expires else None,
        "expired": entry.has_expired(),
        "quotas": {name: value for name, value in asdict(entry.quotas).items() if value is not None},
    }
