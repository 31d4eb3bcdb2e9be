"""`dengar bench train`: how fast training is on this machine, and where its time goes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.train.config import TrainConfig

MODEL = {
    "encoder": {"kind": "whisper", "width": 384, "layers": 4, "heads": 6, "stride": 2, "chunk_frames": 30},
    "head": {"layers": 2, "width": 384, "look_ahead_frames": 0},
}


def bench_train(
    config: Annotated[
        Path | None, typer.Argument(help="YAML of a run; default: the size of the shipped model, made-up speech.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Measured time of each of the two loops.")] = 20.0,
    made_up: Annotated[
        bool, typer.Option("--made-up", help="Speech-shaped noise in place of the configuration's data.")
    ] = False,
    cpu_time: Annotated[
        bool,
        typer.Option(
            "--cpu-time", help="Processor seconds in place of the clock's, for a busy machine: one thread, no workers."
        ),
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override, as in --set precision=float32; may be repeated.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measures seconds of audio per second of training, against the machine's matrix rate and a plain loop.

    The plain loop has random batches of 16, float32, features computed in the loop, and attention by the fused kernel
    with a mask; it runs in turns with the training loop, on the same data. Nothing is kept.

    Example: dengar bench train --seconds 30
    """
    import time

    from asr.train.bench import bench, make_corpus
    from asr.train.prepare import prepare

    started = time.monotonic()
    clock = time.process_time if cpu_time else time.perf_counter
    if cpu_time:
        set_ = [*(set_ or ()), "data.workers=0", "threads=1"]
    with tempfile.TemporaryDirectory(prefix="dengar-bench-") as folder:
        corpus = str(make_corpus(Path(folder), 160, 16.0)) if made_up or config is None else ""
        settings: TrainConfig = _settings(config, corpus, tuple(set_ or ()))
        prepared = prepare(settings, Path(folder) / "run")
        found = bench(prepared.trainer, prepared.train, seconds, prepared.augment, clock)
    row: dict[str, Any] = {
        "run": settings.name,
        "precision": settings.precision,
        "clock": "processor" if cpu_time else "wall",
        "device": str(prepared.trainer.device),
        "audio_per_s": found.ours.audio_per_s,
        "plain_audio_per_s": found.plain.audio_per_s,
        "ratio_to_plain": found.ratio,
        "matrix_gflops": found.matrix_rate / 1e9,
        "gflop_per_audio_s": found.operations_per_s / 1e9,
        "matrix_share": found.matrix_share,
        "padding_share": 1 - found.ours.audio_s / found.ours.padded_s,
        "plain_padding_share": 1 - found.plain.audio_s / found.plain.padded_s,
        "parts": {part: value / found.ours.wall_s for part, value in found.ours.parts_s.items()},
        "plain_parts": {part: value / found.plain.wall_s for part, value in found.plain.parts_s.items()},
        "seconds": time.monotonic() - started,
    }
    if json_:
        output.emit_json(row)
        return
    _show(row)


def _settings(config: Path | None, corpus: str, overrides: tuple[str, ...]) -> TrainConfig:
    from asr.config import load_config, make_config
    from asr.train.config import TrainConfig

    if corpus:
        overrides = (*overrides, f"data.train=['{corpus}']", f"data.dev=['{corpus}']")
    if config is not None:
        return load_config(TrainConfig, config, overrides)
    raw = {"name": "bench", "data": {"batch_s": 64, "max_s": 17}, "model": MODEL, "precision": "bfloat16", "threads": 1}
    return make_config(TrainConfig, raw, "bench train", overrides)


def _show(row: dict[str, Any]) -> None:
    lines = [
        f"{row['run']}, {row['precision']}, {row['device']}",
        f"training loop      {row['audio_per_s']:8.1f} s of audio per s, and {row['padding_share']:.0%} padding",
        f"plain loop         {row['plain_audio_per_s']:8.1f} s of audio per s, {row['plain_padding_share']:.0%}",
        f"ratio              {row['ratio_to_plain']:8.2f}",
        f"matrix products    {row['gflop_per_audio_s']:8.2f} GFLOP per s of padded audio, forward and backward",
        f"matrix rate        {row['matrix_gflops']:8.1f} GFLOP per s at this precision, large squares",
        f"share of it        {row['matrix_share']:8.1%}",
        "",
        f"{'part':<18} {'ours':>8} {'plain':>8}",
    ]
    for part, share in row["parts"].items():
        lines.append(f"{part:<18} {share:8.1%} {row['plain_parts'].get(part, 0.0):8.1%}")
    for line in lines:
        output.console.print(line, highlight=False, soft_wrap=True)
