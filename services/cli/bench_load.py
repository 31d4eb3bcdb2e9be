"""`dengar bench load`: how many streams a server carries, how soon they hear, and what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.audio import Samples
    from services.load.measure import Level
    from services.load.server import Running

SHARE_COMPARED = 0.5
"""Of the streams that the server carries: at so many its alternatives are compared with it."""

MEMORY_STREAMS = 8


def bench_load(
    manifest: Annotated[
        Path | None, typer.Argument(help="Manifest of queries to speak; default: sentences made by espeak-ng.")
    ] = None,
    *,
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="Folder, hash or alias of what is served.")] = "",
    streams: Annotated[
        str, typer.Option(help="Numbers of streams to measure, as in 1,10,40; default: search for the highest.")
    ] = "",
    most: Annotated[int, typer.Option(min=1, help="The search goes no higher.")] = 400,
    seconds: Annotated[float, typer.Option(min=4.0, help="How long each number of streams speaks.")] = 20.0,
    final_ms: Annotated[float, typer.Option(min=1, help="What the 95th percentile of final latency may be.")] = 300.0,
    interim: Annotated[bool, typer.Option(help="Whether the streams ask for interim results.")] = True,
    compare: Annotated[
        bool,
        typer.Option(
            help="Also measure final results only, no batching, torch float, the bare model, and memory over time."
        ),
    ] = True,
    compare_streams: Annotated[
        int, typer.Option(min=0, help="Streams of that comparison; 0: half of what the server carries.")
    ] = 0,
    long_s: Annotated[float, typer.Option(min=10.0, help="Audio of the long streams of that comparison.")] = 60.0,
    option: Annotated[
        list[str] | None,
        typer.Option("--serve", help="Option of dengar serve, as in --serve=--max-batch=4; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of orders and moments.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the figures.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Paces real-time streams against a server that it starts, more and more of them.

    A number of streams is too high when the 95th percentile from half-close to the final result passes 300 ms or
    audio falls behind. The server runs in a process of its own; this generator's processor time is reported apart,
    though both share the machine. Processor time is measured while all streams speak, by stage as the server's own
    metrics have it.

    Example: dengar bench load --out experiments/load.json

    Example: dengar bench load --streams 8,24 --no-compare --bundle work/bundles/rnn
    """
    import asyncio
    import json
    import shlex
    import sys

    from asr.bundle import load_bundle
    from services.cli import load_tables
    from services.load.alternatives import alternatives
    from services.load.measure import Promise, best, cores, measure, search
    from services.load.memory import memory_of_streams
    from services.load.server import served

    loaded = load_bundle(bundle or None)
    queries = queries_of(manifest)
    promise = Promise(final_p95_s=final_ms / 1000)
    arguments = ["--bundle", str(loaded.path), "--max-streams", str(10 * most), *(option or [])]

    def level(server: Running, number: int, *, interim: bool = interim) -> Level:
        found = measure(server, queries, number, seconds, promise, seed=seed, interim=interim)
        if not json_:
            load_tables.show_level(found)
        return found

    if not json_:
        load_tables.show_head()
    with served(*arguments) as server:
        idle_bytes = server.usage().memory_bytes
        if streams:
            levels = [level(server, int(part)) for part in streams.split(",")]
        else:
            levels = search(lambda number: level(server, number), cores(), most)
    top = best(levels)
    result: dict[str, Any] = {
        "command": shlex.join(["dengar", *sys.argv[1:]]),
        "bundle": loaded.hash,
        "encoder": loaded.model.encoder.kind,
        "seed": seed,
        "cores": cores(),
        "levels": [each.to_json() for each in levels],
        "streams": top.streams if top else 0,
        "streams_per_core": (top.streams if top else 0) / cores(),
        "memory_idle_bytes": idle_bytes,
        "memory_per_stream_bytes": (top.memory_bytes - idle_bytes) / top.streams if top else None,
    }
    shown = [*levels]
    if compare:
        number = compare_streams or max(1, round((top.streams if top else 2) * SHARE_COMPARED))
        found = alternatives(loaded.path, arguments, queries, number, level)
        result["compared"] = found.to_json()
        shown += [found.served, found.final_only]
        with served(*arguments) as server:
            memory = asyncio.run(memory_of_streams(server, queries, MEMORY_STREAMS, long_s))
        result["memory"] = memory.to_json()
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if json_:
        output.emit_json(result)
        return
    load_tables.show_stages(shown)
    load_tables.show_result(result)


def queries_of(manifest: Path | None) -> list[Samples]:
    """What is spoken: the first utterances of a manifest, or a few sentences by espeak-ng."""
    if manifest is None:
        from asr.synth import of_engine, open_engine
        from services.cli.bench import SENTENCES

        engine = open_engine("espeak")
        voice = of_engine("espeak", "test")[0]
        return [engine.speak(text, voice) for text in SENTENCES]
    from asr.corpus.manifest import AudioReader, read_manifest
    from asr.errors import InputError

    read = read_manifest(manifest)
    reader = AudioReader(read.root)
    if not read.utterances:
        raise InputError(f"{manifest}: holds no utterance to speak")
    return [reader.read(utterance) for utterance in read.utterances[:200]]
