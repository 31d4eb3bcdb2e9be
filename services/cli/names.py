"""`dengar names`: names that the recogniser was not taught, from being noticed to being learned."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from services.cli import output
from services.cli.names_access import Access, open_access

names_app = typer.Typer(
    help="Names that the recogniser was not taught: see, approve, correct or stop them.", no_args_is_help=True
)

Store = Annotated[
    str | None,
    typer.Option(envvar="DENGAR_STORE", help="The store: a database's URL, or a YAML file of settings."),
]
Address = Annotated[
    str | None, typer.Option(help="Ask this server, host:port, in place of the store; it serves decisions at once.")
]
Key = Annotated[str, typer.Option(envvar="DENGAR_KEY", help="API key with the role admin, if that server has keys.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its id or its text.")]


@names_app.command("list")
def show_all(
    *,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only these: watched, proposed, approved, learned or rejected; may be given several times."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, most mentioned first.")] = 100,
    store: Store = None,
    address: Address = None,
    key: Key = "",
    json: AsJson = False,
) -> None:
    """List names, most mentioned first.

    Example: dengar names list --status proposed
    """
    with _access(store, address, key) as names:
        rows = names.select(status or [], limit)
    if json:
        output.emit_json(rows)
        return
    table = Table(box=None)
    for column in ("name", "status", "heard", "users", "trend", "last heard", "id"):
        table.add_column(column, no_wrap=column != "last heard")
    for row in rows:
        counts = (str(row["mentions"]), str(row["users"]), f"{row['trend']:.1f}")
        table.add_row(row["text"], row["status"], *counts, row["last_heard"][:10], row["id"])
    if not rows:
        output.console.print("no names")
        return
    output.console.print(table)


@names_app.command("show")
def show(
    name: NameArgument, *, store: Store = None, address: Address = None, key: Key = "", json: AsJson = False
) -> None:
    """Show a name and, from the store, its audit trail: which query led to it, who decided, which job and bundle.

    Example: dengar names show "tavia brunello"
    """
    with _access(store, address, key) as names:
        row = names.get(name)
        trail = names.trail(row["id"])
    if json:
        output.emit_json(row if trail is None else {**row, "trail": trail})
        return
    _print_one(row)
    if trail is None:
        output.messages.print("the audit trail is in the store; name it with --store to see it", highlight=False)
        return
    table = Table("when", "who", "what", "of", "because of", "details", box=None)
    for entry in trail:
        details = ", ".join(f"{what} {value}" for what, value in entry["details"].items())
        cause = entry["cause"][:12]
        table.add_row(entry["at"][:19], entry["actor"], entry["action"], entry["subject"][:12], cause, details)
    output.console.print(table)


@names_app.command("add")
def add(
    text: Annotated[str, typer.Argument(help="As it is written.")],
    *,
    spelling: Annotated[
        list[str] | None, typer.Option(help="How it sounds, if letters do not tell; may be given several times.")
    ] = None,
    store: Store = None,
    address: Address = None,
    key: Key = "",
    json: AsJson = False,
) -> None:
    """Add a name by hand, approved: servers on this store recognise it from then on.

    Example: dengar names add "Siobhan Quill" --spelling "shivawn quill"
    """
    with _access(store, address, key) as names:
        _decided(names.add(text, spelling or []), json=json)


@names_app.command("approve")
def approve(
    name: NameArgument,
    *,
    text: Annotated[str, typer.Option(help="The right spelling, if it has another.")] = "",
    store: Store = None,
    address: Address = None,
    key: Key = "",
    json: AsJson = False,
) -> None:
    """Approve a name: servers on this store recognise it from then on.

    Example: dengar names approve "tavia brunelo" --text "tavia brunello"
    """
    with _access(store, address, key) as names:
        _decided(names.approve(name, text), json=json)


@names_app.command("reject")
def reject(
    name: NameArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    store: Store = None,
    address: Address = None,
    key: Key = "",
    json: AsJson = False,
) -> None:
    """Reject a name: it is not served and not noticed again.

    Example: dengar names reject "gona" --reason "not a name"
    """
    with _access(store, address, key) as names:
        _decided(names.reject(name, reason), json=json)


@names_app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV with the columns name and, if wanted, kind and weight; or a name a line.")
    ],
    *,
    source: Annotated[
        str, typer.Option(help="Where they come from, such as contacts; the file's name if not given.")
    ] = "",
    store: Store = None,
    address: Address = None,
    key: Key = "",
    json: AsJson = False,
) -> None:
    """Import a catalogue of entities that unknown words are matched with: contacts, artists, places, trending searches.

    Example: dengar names import artists.csv --source charts
    """
    from services.cli.names_access import read_entities

    entities = read_entities(file)
    with _access(store, address, key) as names:
        done = names.import_entities(entities, (source or file.stem)[:64])
    if json:
        output.emit_json(done)
        return
    output.console.print(f"{done['added']} added, {done['updated']} updated", highlight=False)
    if done["refused_count"]:
        shown = ", ".join(repr(name) for name in done["refused"][:5])
        output.warn(f"{done['refused_count']} cannot be said in the recogniser's alphabet and are left out: {shown}")


@contextlib.contextmanager
def _access(store: str | None, address: str | None, key: str) -> Iterator[Access]:
    with open_access(store, address, key, getpass.getuser()) as access:
        yield access


def _decided(row: dict[str, Any], *, json: bool) -> None:
    if json:
        output.emit_json(row)
    else:
        _print_one(row)


def _print_one(row: dict[str, Any]) -> None:
    reason = f" ({row['reason']})" if row["reason"] else ""
    heard = f"heard {row['mentions']} times by {row['users']} users"
    output.console.print(
        f"{row['text']}: {row['status']}{reason}; {heard}; id {row['id']}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if row["spellings"]:
        output.console.print(
            f"also spelled {', '.join(row['spellings'])}", highlight=False, markup=False, soft_wrap=True
        )
    if row["bundle"]:
        output.console.print(f"learned by bundle {row['bundle']}", highlight=False, markup=False, soft_wrap=True)
