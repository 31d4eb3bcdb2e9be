"""How `dengar bench load` shows what it found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from services.cli import output

if TYPE_CHECKING:
    from services.load.measure import Level

STAGES = ("receive", "features", "vad", "model", "decode", "results", "send", "transport", "other")

_HEAD = (
    f"{'streams':>7}  {'queries':>7}  {'final p50/p95/p99 ms':>20}  {'first word':>14}  {'interim lag':>14}  "
    f"{'interim every':>14}  {'taken back':>10}  {'behind':>6}  {'server CPU':>10}  {'per audio s':>11}  "
    f"{'generator':>9}  {'memory':>7}"
)


def show_head() -> None:
    """The head of the table of levels."""
    output.console.print(_HEAD, style="bold", highlight=False, soft_wrap=True)


def show_level(level: Level) -> None:
    """One row of it; latencies in milliseconds."""

    def ms(values: tuple[float, ...] | None) -> str:
        return "/".join(f"{value * 1000:.0f}" for value in values) if values else "–"

    errors = f"  {level.errors}" if level.errors else ""
    wanted = "" if level.interim_wanted else "  final results only"
    output.console.print(
        f"{level.streams:7d}  {level.queries:7d}  {ms(level.final):>20}  {ms(level.first_word):>14}  "
        f"{ms(level.interim):>14}  {ms(level.gap):>14}  {level.taken_back or 0:>10.1%}  {level.behind:>6.1%}  "
        f"{level.cpu_share:>10.0%}  {level.cpu_per_audio_s:>11.4f}  {level.generator_cpu_share:>9.0%}  "
        f"{level.memory_bytes / 2**20:>4.0f} MB{'' if level.kept else '  too many'}{wanted}{errors}",
        highlight=False,
        soft_wrap=True,
    )


def show_stages(levels: Sequence[Level]) -> None:
    """Where the server's processor time goes."""
    say = output.console.print
    say("\nprocessor milliseconds for a second of audio, by stage", style="bold", highlight=False)
    say(f"{'streams':>7}" + "".join(f"{stage:>10}" for stage in (*STAGES, "all")), highlight=False, soft_wrap=True)
    for level in levels:
        values = [*(level.stages.get(stage, 0.0) for stage in STAGES), level.cpu_per_audio_s]
        row = "".join(f"{1000 * value:>10.2f}" for value in values)
        wanted = "" if level.interim_wanted else "  final results only"
        say(f"{level.streams:7d}{row}{wanted}", highlight=False, soft_wrap=True)


def show_result(result: dict[str, Any]) -> None:
    """What it comes to."""
    compared, memory = result.get("compared"), result.get("memory")
    rows: list[tuple[str, str]] = [
        ("bundle", f"{result['bundle'][:12]} ({result['encoder']})"),
        ("streams that keep the promise", f"{result['streams']} on {result['cores']} cores"),
        ("streams per core", f"{result['streams_per_core']:.1f}"),
    ]
    if result["memory_per_stream_bytes"] is not None:
        idle, each = result["memory_idle_bytes"] / 2**20, result["memory_per_stream_bytes"] / 2**20
        rows.append(("memory, idle and per stream", f"{idle:.0f} MB, {each:.2f} MB"))
    if memory:
        grown = f"{memory['per_stream_minute'] / 2**20:+.2f} MB in a minute of speech"
        rows.append(("a long stream", f"{memory['per_stream'] / 2**20:.2f} MB, {grown}"))
    if compared:
        rows.append((f"at {compared['streams']} streams", "processor time over that of the bare model"))
        rows.append(("bare model", f"{1000 * compared['bare_model']:.2f} ms for a second of audio"))
        rows.append(("with interim results", f"{compared['served_over_bare_model']:.2f} times"))
        rows.append(("final results only", f"{compared['final_only_over_bare_model']:.2f} times"))
        rows.append(("batching off over served", f"{compared['batching_off_over_served']:.2f} times"))
        rows.append(("torch float over served", f"{compared['torch_float_over_served']:.2f} times"))
    output.console.print()
    for name, value in rows:
        output.console.print(f"{name:>30}  {value}", highlight=False, soft_wrap=True)
