"""Makes torchaudio import beside a CPU build of torch: ``python -m services.setup_torchaudio``.

torchaudio's wheel carries a compiled extension that wants CUDA libraries, so beside a CPU build of torch
``import torchaudio`` fails. With the extension's shared objects absent it imports, and its transforms and filters
run; ``forced_align``, ``rnnt_loss``, ``load`` and ``save``, which need the extension, do not. This step moves them
into ``lib/unused/`` in torchaudio's own folder. It leaves an installation alone that imports, or whose torch is a
CUDA build, and a second run does nothing. To undo it, move them back or reinstall torchaudio.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from asr.errors import DengarError, MissingDependencyError

UNUSED = "unused"


def imports(python: str = sys.executable) -> str:
    """Empty if a fresh interpreter can ``import torchaudio``, else the last line of what it said."""
    done = subprocess.run([python, "-c", "import torchaudio"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it crashed"])[-1]


def is_cpu_build() -> bool:
    """Whether the installed torch was built without CUDA and without ROCm."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch is not installed; run: pip install torch==2.13.0") from error
    return torch.version.cuda is None and getattr(torch.version, "hip", None) is None


def move_aside(package: Path) -> list[str]:
    """Moves the shared objects of a torchaudio package folder into ``lib/unused/``; returns their names."""
    objects = sorted((package / "lib").glob("*.so"))
    for file in objects:
        (package / "lib" / UNUSED).mkdir(exist_ok=True)
        file.replace(package / "lib" / UNUSED / file.name)
    return [file.name for file in objects]


def run() -> str:
    """Does the step where it is needed.

    Returns:
        One sentence that says what was done.

    Raises:
        MissingDependencyError: torch or torchaudio is not installed.
        DengarError: torchaudio does not import for another reason.
    """
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("torchaudio is not installed; run: pip install --no-deps torchaudio==2.11.0")
    fault = imports()
    if not fault:
        return "torchaudio imports; nothing to do"
    if not is_cpu_build():
        raise DengarError(f"torchaudio does not import beside this CUDA build of torch: {fault}")
    moved = move_aside(Path(spec.origin).parent)
    fault = imports()
    if fault:
        raise DengarError(f"torchaudio does not import, even without its compiled extension: {fault}")
    return f"torchaudio imports now: moved {', '.join(moved)} aside, which want CUDA libraries"


if __name__ == "__main__":
    try:
        sys.stdout.write(run() + "\n")
    except DengarError as problem:
        sys.exit(f"error: {problem}")
