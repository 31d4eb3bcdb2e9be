"""`dengar bench`: what recognition costs, stage by stage, against the torch float model in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from services.cli import output

SENTENCES = (
    "call john at the office",
    "find the nearest petrol station on the way home",
    "what is the weather like in london tomorrow morning",
    "play the latest song by her favourite band",
    "set a timer for twenty five minutes",
    "how long does it take to drive to the airport",
)

TOGETHER = (8, 32)
"""Streams that step as one batch."""


def bench(
    ctx: typer.Context,
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped one.")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Passes over the sentences; the fastest counts.")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure processor seconds per second of audio on one thread: features, acoustic model, decoding.

    The speech is made by espeak-ng or flite. The ratio says how many times cheaper the served int8 model is than the
    same model in torch float32, both streaming one stream chunk by chunk in the same run; `rtf_model_int8_by_8` and
    `by_32` are what a stream costs when so many step together.

    Example: dengar bench --rounds 5
    """
    if ctx.invoked_subcommand is not None:
        return
    import numpy as np

    from asr.audio import SAMPLE_RATE_HZ
    from asr.bundle import load_bundle
    from asr.check import posteriors_together
    from asr.features import log_mel
    from asr.model.torch_engine import TorchEngine
    from asr.recognize import Recognizer
    from asr.synth import of_engine, open_engine

    loaded = load_bundle(bundle or None)
    served = Recognizer(loaded)
    reference = Recognizer(loaded, engine=TorchEngine.open(loaded.path, loaded.model, len(loaded.tokens), threads=1))
    engine = open_engine("espeak")
    voice = of_engine("espeak", "test")[0]
    recordings = [engine.speak(text, voice) for text in SENTENCES]
    audio_s = sum(map(len, recordings)) / SAMPLE_RATE_HZ
    posteriors = [served.posteriors(samples) for samples in recordings]

    def cost(run: Callable[[Any], Any], items: list[Any]) -> float:
        for item in items[:1]:
            run(item)  # warm
        return min(_seconds(run, items) for _ in range(rounds)) / audio_s

    features = cost(lambda samples: log_mel(samples, loaded.model.features), recordings)
    int8 = cost(served.posteriors, recordings) - features
    float32 = cost(reference.posteriors, recordings) - features
    decode = cost(served.decoder.decode, posteriors)
    whole = cost(served.transcribe, recordings)
    mel = log_mel(recordings[0], loaded.model.features)
    share = audio_s / (len(recordings[0]) / SAMPLE_RATE_HZ)  # `cost` divides by all recordings

    def together(streams: int) -> float:
        return (
            share
            / streams
            * cost(lambda one: posteriors_together(served.engine, [one] * streams, loaded.model.features), [mel])
        )

    difference = max(
        float(np.abs(np.exp(a) - np.exp(reference.posteriors(s))).mean())
        for a, s in zip(posteriors, recordings, strict=True)
    )
    row = {
        "bundle": loaded.hash,
        "audio_s": round(audio_s, 2),
        "rtf": whole,
        "rtf_features": features,
        "rtf_model_int8": int8,
        **{f"rtf_model_int8_by_{streams}": together(streams) for streams in TOGETHER},
        "rtf_model_torch": float32,
        "rtf_decode": decode,
        "torch_over_int8": float32 / int8,
        "streams_per_core": 1 / whole,
        "mean_posterior_difference": difference,
    }
    if json_:
        output.emit_json(row)
        return
    for name, value in row.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        output.console.print(f"{name:>26}  {shown}", highlight=False)


def _seconds(run: Callable[[Any], Any], items: list[Any]) -> float:
    started = time.process_time()
    for item in items:
        run(item)
    return time.process_time() - started
