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
    compare: Annotated[
        bool, typer.Option(help="Also measure without batching, with torch float, and the bare model.")
    ] = True,
    option: Annotated[
        list[str] | None,
        typer.Option("--serve", help="Option of dengar serve, as in --serve=--max-batch=4; may be repeated."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Paces real-time streams against a server that it starts, more and more of them.

    A number of streams is too high when the 95th percentile from half-close to the final result passes 300 ms or
    audio falls behind. The server runs in a process of its own; this generator's processor time is reported apart,
    though both share the machine.

    Example: dengar bench load --seconds 30
    """
    from asr.bundle import load_bundle
    from services.load.measure import Promise, best, cores, measure, search
    from services.load.server import served

    loaded = load_bundle(bundle or None)
    queries = queries_of(manifest)
    promise = Promise(final_p95_s=final_ms / 1000)
    arguments = ["--bundle", str(loaded.path), "--max-streams", str(10 * most), *(option or [])]

    def level(server: Running, number: int) -> Level:
        found = measure(server, queries, number, seconds, promise)
        if not json_:
            _show(found)
        return found

    if not json_:
        output.console.print(_HEAD, style="bold", highlight=False, soft_wrap=True)
    with served(*arguments) as server:
        idle_bytes = server.usage().memory_bytes
        if streams:
            levels = [level(server, int(part)) for part in streams.split(",")]
        else:
            levels = search(lambda number: level(server, number), cores(), most)
    top = best(levels)
    result: dict[str, Any] = {
        "bundle": loaded.hash,
        "cores": cores(),
        "levels": [each.to_json() for each in levels],
        "streams": top.streams if top else 0,
        "streams_per_core": (top.streams if top else 0) / cores(),
        "memory_idle_bytes": idle_bytes,
        "memory_per_stream_bytes": (top.memory_bytes - idle_bytes) / top.streams if top else None,
    }
    if compare and top:
        result |= _alternatives(
            arguments, queries, top, max(1, round(top.streams * SHARE_COMPARED)), level, loaded.path
        )
    if json_:
        output.emit_json(result)
        return
    for name, value in result.items():
        if name not in ("levels",):
            shown = f"{value:.4g}" if isinstance(value, float) else value
            output.console.print(f"{name:>28}  {shown}", highlight=False)


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


def _alternatives(
    arguments: list[str],
    queries: list[Samples],
    top: Level,
    number: int,
    level: Any,
    path: Path,
) -> dict[str, Any]:
    """Processor seconds per second of audio at one number of streams, as it is and otherwise, and of the bare model."""
    from services.load.server import served

    costs = {}
    for name, further in (
        ("served", []),
        ("batching_off", ["--max-batch", "1"]),
        ("torch_float", ["--engine", "torch"]),
    ):
        with served(*arguments, *further) as server:
            found = level(server, number)
        costs[name] = found.cpu_per_audio_s
    bare = _bare_model(path, queries)
    return {
        "compared_at_streams": number,
        **{f"cpu_per_audio_s_{name}": cost for name, cost in costs.items()},
        "cpu_per_audio_s_bare_model": bare,
        "batching_off_over_served": costs["batching_off"] / costs["served"],
        "torch_float_over_served": costs["torch_float"] / costs["served"],
        "served_over_bare_model": costs["served"] / bare,
        "highest_over_bare_model": top.cpu_per_audio_s / bare,
    }


def _bare_model(path: Path, queries: list[Samples]) -> float:
    """Processor seconds of the model's steps alone for a second of audio, eight streams together."""
    import time

    from asr.audio import SAMPLE_RATE_HZ
    from asr.bundle import load_bundle
    from asr.check import posteriors_together
    from asr.features import log_mel

    loaded = load_bundle(path)
    engine = loaded.engine()
    mels = [log_mel(query, loaded.model.features) for query in queries[:8]]
    posteriors_together(engine, mels[:1], loaded.model.features)  # warm
    # Streams that are over hear silence until the last is; so the time is that of the longest for each.
    audio_s = len(mels) * max(map(len, mels)) * 160 / SAMPLE_RATE_HZ
    times = []
    for _ in range(3):
        began = time.process_time()
        posteriors_together(engine, mels, loaded.model.features)
        times.append(time.process_time() - began)
    return min(times) / audio_s


_HEAD = (
    "streams  queries  final ms p50/p95/p99  first word p50/p95  interim lag p50/p95  gap p50/p95  taken back  "
    "behind  server CPU  per audio s  generator  memory"
)


def _show(level: Level) -> None:
    def ms(values: tuple[float, ...] | None, count: int) -> str:
        return "/".join(f"{value * 1000:.0f}" for value in values[:count]) if values else "–"

    errors = f"  {level.errors}" if level.errors else ""
    output.console.print(
        f"{level.streams:7d}  {level.queries:7d}  {ms(level.final, 3):>20}  {ms(level.first_word, 2):>18}  "
        f"{ms(level.interim, 2):>19}  {ms(level.gap, 2):>11}  {level.taken_back or 0:>10.1%}  {level.behind:>6.1%}  "
        f"{level.cpu_share:>10.0%}  {level.cpu_per_audio_s:>11.4f}  {level.generator_cpu_share:>9.0%}  "
        f"{level.memory_bytes / 2**20:>4.0f} MB{'' if level.kept else '  too many'}{errors}",
        highlight=False,
        soft_wrap=True,
    )
