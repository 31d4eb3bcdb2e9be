"""`dengar models`: which bundles there are, which one is served, and changing that while it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from services.dengar.v1 import admin_pb2

app = typer.Typer(
    help="List bundles, make one live, go back; in a registry's folder or on a running server.", no_args_is_help=True
)

RegistryFolder = Annotated[
    str, typer.Option("--registry", envvar="DENGAR_REGISTRY", help="Folder of bundles; default: the shipped ones.")
]
Address = Annotated[str, typer.Option(help="A running server, as host:port; it is told instead of the registry.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_(*, registry: RegistryFolder = "", json_: AsJson = False) -> None:
    """List the bundles of a registry with their aliases.

    Example: dengar models list --registry work/bundles
    """
    from services.registry import Registry

    found = Registry(registry)
    entries = found.entries()
    if json_:
        rows = [{"hash": e.hash, "aliases": e.aliases, "size_bytes": e.size_bytes, "about": e.about} for e in entries]
        output.emit_json({"folder": str(found.folder), "bundles": rows})
        return
    if not entries:
        output.console.print(f"{found.folder} holds no bundle", highlight=False)
    for entry in entries:
        wer = (entry.about.get("dev") or {}).get("wer")
        shown = f"dev WER {wer:.1%} greedy" if isinstance(wer, float) else ""
        output.console.print(
            f"{entry.hash}  {entry.size_bytes / 2**20:6.1f} MB  {', '.join(entry.aliases):20}  {shown}", highlight=False
        )


@app.command()
def show(*, registry: RegistryFolder = "", address: Address = "", json_: AsJson = False) -> None:
    """Show what a server serves, or what a registry's aliases were set to and when.

    Example: dengar models show --address localhost:50051
    """
    if address:
        _show_status(_call(address, lambda stub, pb: stub.GetStatus(pb.GetStatusRequest())), json_)
        return
    from dataclasses import asdict

    from services.registry import Registry

    found = Registry(registry)
    aliases, history, trial = found.aliases(), found.history(), found.rollout()
    if json_:
        rows = [asdict(change) for change in history]
        output.emit_json({"aliases": aliases, "candidate": asdict(trial) if trial else None, "history": rows})
        return
    if trial:
        shares = f"canary {trial.canary_share:.0%}, shadow {trial.shadow_share:.0%}"
        output.console.print(f"{'candidate':12} {trial.hash}  {shares}", highlight=False)
    for name, digest in sorted(aliases.items()):
        output.console.print(f"{name:12} {digest}", highlight=False)
    for change in history:
        output.console.print(
            f"{change.at}  {change.alias} -> {change.hash}  (before: {change.before or 'nothing'})  {change.reason}",
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def promote(
    bundle: Annotated[str, typer.Argument(help="Folder, hash or alias; on a server empty means its candidate.")] = "",
    *,
    registry: RegistryFolder = "",
    address: Address = "",
    reason: Annotated[str, typer.Option(help="Kept in the registry's history.")] = "by hand",
    json_: AsJson = False,
) -> None:
    """Make a bundle live: in the registry, which servers that follow it notice, or on one server.

    The bundle is checked first; one that is damaged, does not fit or is too slow is refused and nothing changes.

    Example: dengar models promote 9dea4c801ce1 --registry work/bundles
    """
    if address:
        _show_status(_call(address, lambda stub, pb: stub.Promote(pb.PromoteRequest(bundle=bundle))), json_)
        return
    from asr.errors import ConfigError
    from services.registry import Registry

    if not bundle:
        raise ConfigError("name the bundle to promote; only a running server (--address) has a candidate")
    _show_change(Registry(registry).promote(bundle, reason), json_)


@app.command()
def rollback(*, registry: RegistryFolder = "", address: Address = "", json_: AsJson = False) -> None:
    """Make the bundle live again that was live before.

    Example: dengar models rollback --address localhost:50051
    """
    if address:
        _show_status(_call(address, lambda stub, pb: stub.Rollback(pb.RollbackRequest())), json_)
        return
    from services.registry import Registry

    _show_change(Registry(registry).rollback(), json_)


@app.command()
def candidate(
    bundle: Annotated[str, typer.Argument(help="Folder, hash or alias, as the server's machine knows it.")] = "",
    *,
    registry: RegistryFolder = "",
    address: Address = "",
    canary: Annotated[float, typer.Option(min=0, max=1, help="Share of new streams that it answers.")] = 0.0,
    shadow: Annotated[float, typer.Option(min=0, max=1, help="Share of streams that it hears once answered.")] = 0.0,
    json_: AsJson = False,
) -> None:
    """Try a bundle on a share of the streams, of all servers that follow a registry or of one; shares of 0 end that.

    Example: dengar models candidate 9dea4c801ce1 --registry work/bundles --canary 0.05 --shadow 0.2
    """
    if not address:
        _show_rollout(registry, bundle, canary, shadow, json_)
        return

    def call(stub: Any, pb: Any) -> Any:
        return stub.SetCandidate(pb.SetCandidateRequest(bundle=bundle, canary_share=canary, shadow_share=shadow))

    _show_status(_call(address, call), json_)


def _show_rollout(registry: str, bundle: str, canary: float, shadow: float, json_: bool) -> None:
    from dataclasses import asdict

    from asr.errors import ConfigError
    from services.registry import Registry, Rollout

    found = Registry(registry)
    if (canary or shadow) and not bundle:
        raise ConfigError("name the bundle that is to be tried; only a running server (--address) has one already")
    found.set_rollout(Rollout(bundle, canary, shadow) if canary or shadow else None)
    trial = found.rollout()
    if json_:
        output.emit_json({"candidate": asdict(trial) if trial else None})
    elif trial:
        shares = f"canary {trial.canary_share:.0%}, shadow {trial.shadow_share:.0%}"
        output.console.print(f"candidate is {trial.hash}: {shares}", highlight=False)
    else:
        output.console.print("no bundle is on trial", highlight=False)


def _call(address: str, call: Callable[[Any, Any], Any]) -> admin_pb2.ServerStatus:
    import grpc

    from services.client.errors import error_of
    from services.dengar.v1 import admin_pb2, admin_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        try:
            return call(admin_pb2_grpc.AdminStub(channel), admin_pb2)  # type: ignore[no-any-return, no-untyped-call]
        except grpc.RpcError as error:
            raise error_of(error, address) from error


def _show_change(change: Any, json_: bool) -> None:
    from dataclasses import asdict

    if json_:
        output.emit_json(asdict(change))
    else:
        output.console.print(f"{change.alias} is {change.hash} (before: {change.before or 'nothing'})", highlight=False)


def _show_status(status: admin_pb2.ServerStatus, json_: bool) -> None:
    from google.protobuf.json_format import MessageToDict

    if json_:
        output.emit_json(MessageToDict(status, preserving_proto_field_name=True))
        return
    say = output.console.print
    say(f"live       {status.live.hash[:12]}  {status.live.streams} streams  {status.live.name}", highlight=False)
    if status.HasField("candidate"):
        shadow = status.shadow
        say(
            f"candidate  {status.candidate.hash[:12]}  {status.candidate.streams} streams  canary "
            f"{status.canary_share:.0%}, shadow {status.shadow_share:.0%}: {shadow.changed} of {shadow.utterances} "
            f"heard otherwise, {shadow.word_differences} of {shadow.words} words",
            highlight=False,
            soft_wrap=True,
        )
    for each in status.draining:
        say(f"draining   {each.hash[:12]}  {each.streams} streams", highlight=False)
    if status.previous_hash:
        say(f"previous   {status.previous_hash[:12]}", highlight=False)
