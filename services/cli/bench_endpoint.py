"""`dengar bench endpoint`: how soon the end of speech is noticed, and how often too soon."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output
from services.cli.listening import Every, Half, Json, Noise, NoiseDir, PacketMs, Seed, Snr, run_config

if TYPE_CHECKING:
    from asr.endpoint import EndpointConfig
    from asr.evaluate.endpoint_traces import Trace
    from asr.evaluate.endpointing import EndpointSummary
    from asr.evaluate.run import RunConfig

COMPARED_S = (0.4, 0.6, 0.8)
"""Fixed silences that the rules are compared with."""

TOGETHER = (1, 32)
"""Streams of voice activity in step, whose cost is measured."""


def bench_endpoint(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Manifests, or one file of traces.")],
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped one.")
    ] = "",
    snr: Snr = "clean,5",
    noise: Noise = "cabin",
    noise_dir: NoiseDir = "",
    half: Half = "",
    every: Every = 1,
    packet_ms: PacketMs = 100,
    tail: Annotated[float, typer.Option(min=1, help="Seconds of background after each recording.")] = 4.0,
    hesitation: Annotated[
        float, typer.Option(min=0, help="Seconds of silence put into the middle of each recording.")
    ] = 0.0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Rule, as in --set silence_s=0.6; may be repeated.")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(help="Keep what was heard in this file, to try other rules on it quickly.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the first recording, as SVG.")] = None,
    seed: Seed = 0,
    json_: Json = False,
) -> int:
    """Measures the delay of the endpoint, speech that is cut off and streams that do not end.

    Every recording is streamed with its background going on behind it, in quiet and in noise. The true end of its last
    word comes from a forced alignment in quiet. The rules (`asr.endpoint`) stand beside a fixed silence of voice
    activity and one of the recogniser. `voice_rtf_by_32` is the processor seconds of voice activity per second of
    audio when so many streams step together.

    Example: dengar bench endpoint work/voice-search-dev/manifest.jsonl --every 10 --traces work/traces.jsonl
    """
    from asr.config import config_to_json, make_config
    from asr.endpoint import EndpointConfig
    from asr.evaluate.endpoint_traces import write_traces
    from asr.evaluate.endpointing import voice_cost
    from asr.voice_activity import VoiceActivity

    config = make_config(EndpointConfig, {}, "endpointing", tuple(set_ or ()))
    run = run_config(
        snr, packet_ms=packet_ms, noise=noise, noise_dir=noise_dir, half=half or None, every=every, seed=seed
    )
    heard, settings = _heard(manifests, bundle, run, tail, hesitation)
    if half:
        heard = [trace for trace in heard if trace.half == half]
    if traces is not None:
        write_traces(traces, heard)
    rows = _measured(heard, config, packet_ms)
    if figure is not None and heard:
        from asr.evaluate.endpoint_figure import draw

        figure.write_text(draw(heard[0], config), "utf-8")
    voice = VoiceActivity()
    costs = {f"voice_rtf_by_{streams}": voice_cost(voice, streams) for streams in TOGETHER}
    if json_:
        row_values = [asdict(row) for row in rows]
        output.emit_json({**settings, **costs, "rules": config_to_json(config), "rows": row_values})
    else:
        _show(rows)
        for name, value in costs.items():
            output.console.print(f"{name}  {value:.4f}", highlight=False)
    return 1 if settings.get("left_out") else 0


def _heard(
    manifests: list[Path], bundle: str, run: RunConfig, tail_s: float, hesitation_s: float
) -> tuple[list[Trace], dict[str, Any]]:
    """Traces, read again or new, and how they were made."""
    from asr.config import config_to_json
    from asr.corpus.manifest import Problem, read_manifest
    from asr.evaluate.endpoint_traces import TraceConfig, hear, is_traces, read_traces
    from asr.recognize import Recognizer
    from asr.voice_activity import VoiceActivity

    if all(is_traces(path) for path in manifests):
        return [trace for path in manifests for trace in read_traces(path)], {"traces": [str(p) for p in manifests]}
    config = TraceConfig(run=run, tail_s=tail_s, hesitation_s=hesitation_s)
    read = [read_manifest(path) for path in manifests]
    problems = [problem for manifest in read for problem in manifest.problems]
    recognizer = Recognizer.open(bundle or None)
    found: list[Trace] = []
    total = len(run.snr_db) * sum(len(run.chosen(manifest)) for manifest in read)
    with output.progress() as progress:
        task = progress.add_task("listening", total=total)
        for item in hear(recognizer, VoiceActivity(), read, config):
            if isinstance(item, Problem):
                problems.append(item)
            else:
                found.append(item)
            progress.advance(task)
    for problem in problems:
        output.warn(f"{problem.where}: {problem.reason}")
    return found, {
        "bundle_hash": recognizer.bundle_hash,
        "manifests": [str(path) for path in manifests],
        "settings": config_to_json(config),
        "left_out": [asdict(problem) for problem in problems],
    }


def _measured(traces: list[Trace], config: EndpointConfig, packet_ms: int) -> list[EndpointSummary]:
    from asr.evaluate.endpointing import by_recogniser, by_rules, by_voice, play, summarise

    rules = {"rules": by_rules(config)}
    rules |= {f"voice {silence_s:g} s": by_voice(silence_s, config) for silence_s in COMPARED_S}
    rules |= {f"recogniser {silence_s:g} s": by_recogniser(silence_s) for silence_s in COMPARED_S}
    return [row for name, rule in rules.items() for row in summarise(name, play(traces, rule, packet_ms))]


def _show(rows: list[EndpointSummary]) -> None:
    from rich.table import Table

    for condition, corpus in dict.fromkeys((row.condition, row.corpus) for row in rows):
        chosen = [row for row in rows if (row.condition, row.corpus) == (condition, corpus)]
        output.console.print(f"\n{condition}, {corpus}: {chosen[0].recordings} recordings", highlight=False)
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("rule")
        for column in ("median p95 s", "voice+rule+packet", "cut (words)", "open", "empty"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in chosen:
            parts = (row.voice_lag_s, row.silence_s, row.packet_s)
            table.add_row(
                row.rule,
                f"{_seconds(row.delay_median_s)} {_seconds(row.delay_p95_s)}",
                "+".join(map(_seconds, parts)),
                f"{row.early.value or 0.0:.1%} ({row.words_lost:.1%})",
                f"{row.unended:.0%}",
                f"{row.start_timeouts:.0%}",
            )
        output.console.print(table)
    output.console.print(
        "\nThe delay is made of what voice activity and recogniser lag behind the speaker, the rule's silence and the "
        "rest of the packet.\ncut: ended before the last word was over (share of words lost); open: not ended; "
        "empty: ended as if nobody had spoken",
        highlight=False,
        soft_wrap=True,
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
