"""`dengar bundle build|show`: from a trained run to the folder that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli import output
from services.cli.bundle_card import card as write_card
from services.cli.bundle_card import lexicon
from services.cli.bundle_check import check
from services.cli.bundle_tune import tune

bundle_app = typer.Typer(help="Build and inspect bundles.", no_args_is_help=True)
bundle_app.command("check")(check)
bundle_app.command("tune")(tune)
bundle_app.command("card")(write_card)
bundle_app.command("lexicon")(lexicon)


@bundle_app.command("build")
def build(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that receives the bundle.")] = Path("work/bundles"),
    lm: Annotated[Path | None, typer.Option(help="KenLM binary or ARPA file to ship.")] = None,
    decoder: Annotated[Path | None, typer.Option(help="YAML of decoder settings.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Decoder setting, as in --set beam_width=8.")] = None,
    unknown: Annotated[
        Path | None, typer.Option(help="YAML of the search for unknown words; see dengar bench unknown --fit.")
    ] = None,
    chunk_frames: Annotated[int | None, typer.Option(min=1, help="Output frames per step, if not the run's.")] = None,
    card: Annotated[Path | None, typer.Option(help="Model card, Markdown.")] = None,
    notice: Annotated[Path | None, typer.Option(help="Attributions.")] = None,
    alias: Annotated[str, typer.Option(help="Also point this alias at it, for example 'default'.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Print path and hash as JSON.")] = False,
) -> None:
    """Exports a trained run to int8 ONNX and packs it with tokens, language model and model card.

    Example: dengar bundle build work/runs/demo --lm work/demo/lm.arpa.gz
    """
    from asr.bundle import build_bundle, load_bundle
    from asr.config import load_config, make_config
    from asr.decode import DecoderConfig
    from asr.unknown import UnknownConfig

    overrides = tuple(set_ or ())
    settings = (
        load_config(DecoderConfig, decoder, overrides)
        if decoder
        else make_config(DecoderConfig, {}, "--set", overrides)
    )
    path = build_bundle(
        run,
        out,
        decoder=settings,
        unknown=load_config(UnknownConfig, unknown) if unknown else None,
        chunk_frames=chunk_frames,
        lm=lm,
        about={"run": run.name},
        card=card.read_text(encoding="utf-8") if card else "",
        notice=notice.read_text(encoding="utf-8") if notice else "",
    )
    if alias:
        (out / alias).write_text(path.name + "\n", encoding="utf-8")
    loaded = load_bundle(path)
    if json_:
        output.emit_json({"path": str(path), "hash": loaded.hash})
    else:
        output.console.print(
            f"{path}  ({sum(f.stat().st_size for f in path.iterdir()) / 1e6:.1f} MB)", highlight=False, soft_wrap=True
        )


@bundle_app.command("show")
def show(
    bundle: Annotated[str, typer.Argument(help="Folder, hash or alias; default: the shipped bundle.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Checks a bundle against its hash and describes it.

    Example: dengar bundle show
    """
    from asr.bundle import UNKNOWN, load_bundle
    from asr.config import config_to_json

    loaded = load_bundle(bundle or None)
    engine = loaded.engine()
    geometry = engine.geometry
    words = loaded.lexicon()
    row = {
        "path": str(loaded.path),
        "hash": loaded.hash,
        "model": config_to_json(loaded.model),
        "decoder": config_to_json(loaded.decoder),
        "unknown_words": UNKNOWN if (loaded.path / UNKNOWN).is_file() else "defaults",
        "tokens": len(loaded.tokens),
        "look_ahead_s": round(geometry.look_ahead_s, 4),
        "chunk_s": round(geometry.chunk_frames * geometry.frame_s, 4),
        "engine": {**engine.arithmetic, "independent_streams": engine.independent_streams},
        "language_model": loaded.lm_path.name if loaded.lm_path else None,
        "lexicon": {"words": len(words), "source": loaded.lm_path.name if loaded.lm_path else None},
        "size_mb": round(sum(file.stat().st_size for file in loaded.path.iterdir()) / 1e6, 1),
        "about": dict(loaded.about),
    }
    if json_:
        output.emit_json(row)
    else:
        output.console.print_json(data=row)
