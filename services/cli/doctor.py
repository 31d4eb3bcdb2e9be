"""`dengar doctor`: what is installed, what is missing, how to get it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from asr.errors import BundleError, DengarError
from services.cli import output

State = Literal["ok", "missing", "poor"]

MIN_FREE_GB = 2.0
PROMPTS = "usr/share/asterisk/sounds/en*"
_MARKS: dict[State, str] = {
    "ok": "[green]ok     [/green]",
    "missing": "[red]missing[/red]",
    "poor": "[yellow]poor   [/yellow]",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: what was looked at.
        state: ``poor`` works, but not as it should.
        found: what is there, or what is wrong.
        remedy: how to get it; empty if all is well.
        serves: whether `dengar serve` needs it.
    """

    topic: str
    state: State
    found: str
    remedy: str = ""
    serves: bool = False


def doctor(json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> int:
    """Tell what is installed, what is missing and how to get it.

    Exits with 0 if everything is there that `dengar serve` needs, else with 1. For completion in your shell run
    `dengar --install-completion` once.

    Example: dengar doctor --json
    """
    findings = list(examine())
    able = all(finding.state != "missing" for finding in findings if finding.serves)
    if json_:
        output.emit_json({"can_serve": able, "findings": [asdict(finding) for finding in findings]})
        return 0 if able else 1
    for finding in findings:
        output.console.print(_MARKS[finding.state], end=" ")
        output.console.print(f"{finding.topic:<12} {finding.found}", highlight=False, markup=False, soft_wrap=True)
        if finding.remedy:
            output.console.print(f"{'':20} -> {finding.remedy}", highlight=False, markup=False, soft_wrap=True)
    verdict = "dengar serve has what it needs" if able else "dengar serve lacks what is marked missing above"
    output.console.print(f"\n{verdict}", highlight=False)
    return 0 if able else 1


def examine() -> Iterator[Finding]:
    """Looks at everything, cheap things first."""
    yield _python()
    for extra in ("", "serve", "train", "dev"):
        yield _packages(extra)
    yield _torch()
    yield _torchaudio()
    yield _espeak()
    yield _speech_library("flite", "libflite.so.1")
    yield _voices()
    yield _prompts()
    yield _bundle()
    yield _disk()
    yield _microphone()


def missing_packages(extra: str, distribution: str = "dengar") -> list[str]:
    """The requirements of an extra (empty: of the base) that are not installed, as they are written."""
    lacking = []
    for requirement in metadata.requires(distribution) or []:
        specification, _, marker = requirement.partition(";")
        wanted = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", marker)
        if (wanted[1] if wanted else "") != extra:
            continue
        name = re.split(r"[\s\[<>=!~]", specification.strip(), maxsplit=1)[0]
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            lacking.append(specification.strip())
    return lacking


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", "ok", f"{version} in {sys.prefix}", serves=True)


def _packages(extra: str) -> Finding:
    topic, target = (f"[{extra}]", f"dengar[{extra}]") if extra else ("base", "dengar")
    lacking = missing_packages(extra)
    if lacking:
        return Finding(
            topic,
            "missing",
            f"without {', '.join(lacking)}",
            f"make, or pip install '{target}'",
            extra in ("", "serve"),
        )
    purpose = {"": "client and command line", "serve": "the server", "train": "training and data", "dev": "tests"}
    return Finding(topic, "ok", f"every package for {purpose[extra]}", serves=extra in ("", "serve"))


def _torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding(
            "torch", "missing", f"does not import ({error})", "make, or pip install torch==2.13.0 (training only)"
        )
    if torch.cuda.is_available():
        build = f"CUDA {torch.version.cuda}, {torch.cuda.device_count()} GPU"
    else:
        build = f"{'CPU build' if torch.version.cuda is None else 'no GPU in reach'}, {torch.get_num_threads()} threads"
    return Finding("torch", "ok", f"{torch.__version__} ({build})")


def _torchaudio() -> Finding:
    from services.setup_torchaudio import imports

    fault = imports()
    if fault:
        return Finding("torchaudio", "missing", f"does not import ({fault})", "python -m services.setup_torchaudio")
    return Finding("torchaudio", "ok", "imports")


def _espeak() -> Finding:
    from asr import debian

    try:
        program = debian.program("espeak-ng", "espeak-ng")
    except DengarError as error:
        remedy = "make, or apt-get install espeak-ng (synthesised speech)"
        return Finding("espeak-ng", "missing", str(error).split(";")[0], remedy)
    return Finding("espeak-ng", "ok", program.path)


def _speech_library(package: str, soname: str) -> Finding:
    from asr import debian

    try:
        debian.library(soname, package)
    except DengarError as error:
        return Finding(
            package, "missing", str(error).split(";")[0], f"make, or apt-get install {package} (synthesised speech)"
        )
    return Finding(package, "ok", f"{soname} loads")


def _voices() -> Finding:
    remedy = "dengar data synth --install (90 MB; flite stands in where it is missing)"
    try:
        from asr.synth import assets

        files = assets.installed()
    except (ImportError, DengarError) as error:
        return Finding("Kokoro", "missing", str(error).split(";")[0], remedy)
    return Finding("Kokoro", "ok", f"natural voices in {files.model.parent}")


def _prompts() -> Finding:
    from asr import debian

    folder = debian.find(PROMPTS)
    if folder is None:
        remedy = "make, or apt-get install asterisk-core-sounds-en-g722 (recorded speech for the demo)"
        return Finding("prompts", "missing", f"no /{PROMPTS}", remedy)
    return Finding("prompts", "ok", f"{sum(1 for _ in folder.rglob('*.g722'))} recordings in {folder}")


def _bundle() -> Finding:
    try:
        from asr.bundle import load_bundle

        bundle = load_bundle()
    except BundleError as error:
        return Finding("bundle", "missing", str(error), "git checkout bundles, or dengar bundle build", serves=True)
    except (ImportError, OSError) as error:
        return Finding("bundle", "missing", f"cannot be read ({error})", "pip install 'dengar[serve]'", serves=True)
    size_mb = sum(file.stat().st_size for file in bundle.path.iterdir()) / 1e6
    return Finding("bundle", "ok", f"{bundle.hash[:12]}, {size_mb:.0f} MB, whole, in {bundle.path}", serves=True)


def _disk() -> Finding:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    if free_gb < MIN_FREE_GB:
        return Finding("disk", "poor", f"{free_gb:.1f} GB free here", f"free {MIN_FREE_GB:.0f} GB, or work elsewhere")
    return Finding("disk", "ok", f"{free_gb:.0f} GB free here")


def _microphone() -> Finding:
    if shutil.which("arecord"):
        return Finding("microphone", "ok", "through arecord (whether one is plugged in shows when you speak)")
    try:
        import sounddevice  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except (ImportError, OSError):
        return Finding(
            "microphone", "missing", "nothing that records", "apt-get install alsa-utils (dengar stream mic)"
        )
    inputs = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
    if not inputs:
        return Finding("microphone", "missing", "sounddevice sees none", "plug one in (dengar stream mic)")
    return Finding("microphone", "ok", f"{inputs[0]['name']} through sounddevice")
