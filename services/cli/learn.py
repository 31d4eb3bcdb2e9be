"""`dengar learn names|recall`: names learned for good, and how often they are then heard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.errors import ConfigError
from services.cli import output

if TYPE_CHECKING:
    from asr.learn import Learned

learn_app = typer.Typer(help="Learn names for good.", no_args_is_help=True)

_Names = Annotated[list[str] | None, typer.Argument(help="Names, each in quotes.", metavar="[NAME]...")]
_List = Annotated[Path | None, typer.Option("--list", "-l", help="More names, one a line (or a table's column name).")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@learn_app.command("names")
def names(
    name: _Names = None,
    *,
    list_: _List = None,
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="To learn from; default: the shipped one.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that receives the new bundle.")] = Path(
        "work/bundles"
    ),
    work: Annotated[
        Path | None, typer.Option(help="Folder of this job; one that was begun goes on. Default: by names and bundle.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML; default: data/learn.yaml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, as in tune.steps=40.")] = None,
    json_: _Json = False,
) -> None:
    """Makes a bundle that recognises new names by itself, without hints, from a bundle that does not.

    The names are spoken in queries by many voices, put into the language model, and learned by the acoustic model
    among old data. The bundle is new and not served: measure it first (dengar learn recall, dengar compare).

    Example: dengar learn names "Unai Emery" "Masashi Kishimoto" -o work/bundles
    """
    from asr.bundle import find_bundle
    from asr.learn import NewName, learn, load_learn_config
    from asr.learn.config import DEFAULT

    texts = _spoken(name or (), list_)
    settings = load_learn_config(config or DEFAULT, tuple(set_ or ()))
    path = find_bundle(bundle or None)
    folder = work or Path("work/learn") / _job(path, texts)
    with output.progress() as progress:
        tasks: dict[str, Any] = {}

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=100)
            progress.update(tasks[stage], completed=round(100 * share))

        learned = learn(path, [NewName(text) for text in texts], settings, folder, out, report)
    for reason in learned.left_out[:10]:
        output.warn(reason)
    if json_:
        output.emit_json({**vars(learned), "bundle": str(learned.bundle)})
    else:
        _show(learned)


@learn_app.command("recall")
def recall(
    name: _Names = None,
    *,
    list_: _List = None,
    bundle: Annotated[
        list[str] | None, typer.Option("--bundle", "-b", help="May be repeated; default: the shipped one.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Keeps what is spoken; a second run begins with it.")] = Path(
        "work/learn/probe"
    ),
    snr: Annotated[float, typer.Option(help="Of the car's cabin, in dB.")] = 10.0,
    kokoro: Annotated[int, typer.Option(min=0, help="Utterances of each name by Kokoro's test voices.")] = 6,
    flite: Annotated[int, typer.Option(min=0, help="And by Flite's voices.")] = 2,
    seed: Annotated[int, typer.Option(help="Of queries and voices.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that speak.")] = 1,
    json_: _Json = False,
) -> None:
    """How often names are recognised in full by voices, an engine and a pronunciation that learning never uses.

    Nothing hints at the names. Each is asked for in queries that learning never speaks, in quiet and in a car.

    Example: dengar learn recall "Unai Emery" -b default -b work/bundles/0123456789ab
    """
    from asr.learn.probe import hear_probe, probe_lines, speak_probe
    from asr.learn.probe import recall as count
    from asr.recognize import Recognizer

    texts = _spoken(name or (), list_)
    lines = probe_lines(texts, kokoro=kokoro, flite=flite, seed=seed)
    if not lines:
        raise ConfigError("nothing to speak: --kokoro and --flite are both 0")
    rows: list[dict[str, Any]] = []
    with output.progress() as progress:
        task = progress.add_task("speaking", total=len(lines))
        manifest = speak_probe(lines, work, jobs, lambda done, _: progress.update(task, completed=done))
        for each in bundle or [""]:
            recognizer = Recognizer.open(each or None)
            for condition, snr_db in (("quiet", None), (f"car {snr:g} dB", snr)):
                task = progress.add_task(f"{recognizer.bundle.name} {condition}", total=len(lines))
                heard = hear_probe(recognizer, lines, manifest, snr_db, lambda task=task: progress.advance(task))  # type: ignore[misc]
                for engine in ("kokoro", "flite", "all"):
                    chosen = [place for place, line in enumerate(lines) if engine in (line.engine, "all")]
                    if not chosen:
                        continue
                    found = count([lines[place].name for place in chosen], [heard[place] for place in chosen])
                    row: dict[str, Any] = {"bundle": recognizer.bundle_hash, "condition": condition, "engine": engine}
                    row |= {"said": found.said, "heard": found.heard, "recall": found.share}
                    rows.append(row if engine != "all" else {**row, "by_name": found.by_name, "texts": heard})
    if json_:
        output.emit_json({"names": texts, "seed": seed, "rows": rows})
        return
    from rich.table import Table

    table = Table("bundle", "condition", "voices", "full names", "recall", box=None)
    for row in rows:
        table.add_row(
            row["bundle"][:12],
            row["condition"],
            row["engine"],
            f"{row['heard']} of {row['said']}",
            f"{row['recall']:.1%}",
        )
    output.console.print(table)


def _spoken(given: Iterable[str], path: Path | None) -> list[str]:
    """The names as they are spoken, each once."""
    from asr.corpus.text import normalise
    from asr.synth.names import read_names

    texts = [normalise(text) for text in given]
    if path is not None:
        listed = read_names(path)
        for reason, number in listed.left_out.items():
            output.warn(f"{path}: left out {number} names ({reason})")
        texts += [name.text for name in listed.names]
    if not texts:
        raise ConfigError("give at least one name, or a list of them with --list")
    return list(dict.fromkeys(texts))


def _job(bundle: Path, texts: list[str]) -> str:
    import hashlib

    return f"{bundle.name[:12]}-{hashlib.sha256(chr(10).join(texts).encode()).hexdigest()[:8]}"


def _show(learned: Learned) -> None:
    output.console.print(
        f"{learned.bundle}: {len(learned.names)} names learned, {len(learned.all_names)} known so by now",
        highlight=False,
        soft_wrap=True,
    )
    old = ", ".join(f"{path} ({kind})" for path, kind in learned.data.items()) or "none"
    output.console.print(
        f"{learned.utterances} utterances spoken in {learned.synthesis_s:.0f} s; {learned.steps} steps of training in "
        f"{learned.training_s:.0f} s (stopped: {learned.stopped}); exported in {learned.export_s:.0f} s\n"
        f"old data heard again: {learned.replay_utterances} utterances, {old}",
        highlight=False,
        soft_wrap=True,
    )
