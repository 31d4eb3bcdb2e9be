"""`dengar bundle check`: what a bundle serves against its float weights, alone and beside loud neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import output

if TYPE_CHECKING:
    from asr.check import BundleCheck, CheckConfig


def check(
    manifests: Annotated[list[Path], typer.Argument(help="Manifests to hear.", metavar="MANIFEST...")],
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="Folder, hash or alias; default: the shipped bundle.")
    ] = "",
    every: Annotated[int, typer.Option(min=1, help="Hear one item of so many, from the first.")] = 1,
    max_relative_wer: Annotated[float, typer.Option(min=0, help="Largest share of more word errors.")] = 0.01,
    beside: Annotated[int, typer.Option(min=1, help="Items heard again among loud neighbours.")] = 20,
    neighbours: Annotated[int, typer.Option(min=1, help="Loud streams beside each of them.")] = 7,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the result there, as JSON.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Compares the served int8 engine with the bundle's float weights, and streams alone with streams in a batch.

    Both hear the same items with the same decoder. Some items are then heard once more beside others that are 30 dB
    louder. Exits with 1 if the served engine makes more word errors than allowed, or if a neighbour changes a word.

    Example: dengar bundle check dev.jsonl --every 4
    """
    import json

    import torch

    from asr.bundle import load_bundle
    from asr.check import CheckConfig
    from asr.check import check as run
    from asr.corpus import read_manifest
    from asr.model.acoustic import AcousticModel
    from asr.model.pretrained import load_weights
    from asr.model.torch_engine import TorchEngine

    torch.set_num_threads(1)
    loaded = load_bundle(bundle or None)
    model = AcousticModel(loaded.model, len(loaded.tokens))
    load_weights(model, loaded.path)
    config = CheckConfig(every=every, max_relative_wer=max_relative_wer, beside=beside, neighbours=neighbours)
    read = [read_manifest(path) for path in manifests]
    total = sum(-(-len(manifest.utterances) // every) for manifest in read)
    with output.progress() as progress:
        task = progress.add_task("listening twice", total=total)
        found = run(loaded, TorchEngine(model), read, config, report=lambda: progress.advance(task))
    row = found.to_json()
    if out:
        out.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    for problem in found.left_out:
        output.warn(f"{problem.where}: {problem.reason}")
    if json_:
        output.emit_json(row)
    else:
        _show(loaded.name, found, config)
    for fault in found.faults:
        output.fail(fault)
    return 1 if found.faults else 0


def _show(name: str, found: BundleCheck, config: CheckConfig) -> None:
    relative = "" if found.relative_difference is None else f" ({found.relative_difference:+.2%} relative)"
    interval = f", 95 % interval {found.interval[0]:+.2%} to {found.interval[1]:+.2%}" if found.interval else ""
    neighbours = f"{config.neighbours} neighbours {config.louder_db:g} dB louder"
    changed = f"{found.beside_changed} of {found.beside} utterances have other words"
    lines = [
        f"{name}: {found.utterances} utterances, {found.words} words; activations {found.arithmetic['activations']}",
        f"WER float {found.wer_float:.2%}, served {found.wer_served:.2%}{relative}{interval}",
        f"{found.changed} utterances have other words than with float weights",
        f"posteriors differ by {found.mean_difference:.5f} on average, {found.max_difference:.3f} at most",
        f"beside {neighbours}: {changed}, posteriors differ by {found.beside_difference:.2g} at most",
    ]
    for line in lines:
        output.console.print(line, highlight=False, soft_wrap=True)
