"""Programs, libraries and data of Debian packages: the system's, or the ones set-up unpacked without root.

Where there is no root, ``tools/setup.sh`` unpacks the packages into ``debian/`` inside the virtual environment.
Nothing has to be exported for that: programs ask this module, which looks at the system first.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.errors import MissingDependencyError

ROOT = Path(sys.prefix) / "debian"
"""Where unpacked packages lie, laid out as the file system's root."""


def library(name: str, package: str, *, root: Path = ROOT) -> ctypes.CDLL:
    """Loads a shared library such as ``libflite.so.1``, its symbols visible to libraries loaded later.

    Args:
        name: the library's soname.
        package: the Debian package that has it, for the error.
        root: where unpacked packages lie.

    Raises:
        MissingDependencyError: neither the system nor `root` has it.
    """
    try:
        return ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    except OSError:
        pass
    candidates = _candidates(root, name)
    if not candidates:
        raise MissingDependencyError(f"{package}'s library {name} is not installed; run: apt-get install {package}")
    return _load(candidates[0], root)


@dataclass(frozen=True, slots=True)
class Program:
    """Where a program lies, and the environment it is to be started in (None: ours as it is)."""

    path: str
    environment: Mapping[str, str] | None = None


def program(name: str, package: str, *, root: Path = ROOT) -> Program:
    """Finds a program such as ``espeak-ng``.

    Args:
        name: of the program.
        package: the Debian package that has it, for the error.
        root: where unpacked packages lie.

    Raises:
        MissingDependencyError: neither the system nor `root` has it.
    """
    if found := shutil.which(name):
        return Program(found)
    unpacked = root / "usr" / "bin" / name
    if not unpacked.is_file():
        raise MissingDependencyError(f"{package} is not installed; run: apt-get install {package}")
    folders = sorted({str(file.parent) for top in ("lib", "usr/lib") for file in (root / top).rglob("*.so*")})
    before = os.environ.get("LD_LIBRARY_PATH")
    return Program(
        str(unpacked), {**os.environ, "LD_LIBRARY_PATH": ":".join([*folders, *([before] if before else [])])}
    )


def find(pattern: str, *, root: Path = ROOT) -> Path | None:
    """The first match of a glob such as ``usr/lib/*/espeak-ng-data`` in the system's root or `root`, or None."""
    for top in (Path("/"), root):
        found = sorted(top.glob(pattern))
        if found:
            return found[0]
    return None


def _candidates(root: Path, name: str) -> list[Path]:
    return sorted(root.glob(f"usr/lib/**/{name}")) + sorted(root.glob(f"lib/**/{name}"))


def _load(file: Path, root: Path) -> ctypes.CDLL:
    """Loads `file` after what it needs: the loader names one missing library at a time, and finds loaded ones."""
    tried: set[str] = set()
    while True:
        try:
            return ctypes.CDLL(str(file), ctypes.RTLD_GLOBAL)
        except OSError as error:
            missing = str(error).split(":")[0]
            needed = _candidates(root, missing)
            if missing in tried or not needed:
                raise MissingDependencyError(f"{file} does not load: {error}") from error
            tried.add(missing)
            _load(needed[0], root)
