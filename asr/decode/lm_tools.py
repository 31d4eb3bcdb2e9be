"""KenLM's command-line programs, built once from its source distribution into the user's cache.

`asr.decode.lm_build` estimates a model without them and `kenlm` (the Python package) reads the ARPA file that
results. The programs are wanted for two things only: ``build_binary`` packs a large model into a quantised trie
(the default bundle's is less than half the size of its gzipped ARPA file), and ``lmplz`` is the oracle that the
estimator is checked against.

Run ``python -m asr.decode.lm_tools --install``; a second run finds them and does nothing. It needs a C++ compiler,
cmake, make, and Boost's and zlib's development packages; on Debian::

    apt-get install g++ cmake make libboost-program-options-dev libboost-system-dev libboost-thread-dev \
        libboost-test-dev zlib1g-dev libbz2-dev liblzma-dev
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from asr.errors import DengarError, MissingDependencyError

KENLM_VERSION = "0.3.0"
PROGRAMS = ("lmplz", "build_binary")
_APT = (
    "g++ cmake make libboost-program-options-dev libboost-system-dev libboost-thread-dev libboost-test-dev "
    "zlib1g-dev libbz2-dev liblzma-dev"
)


def bin_folder() -> Path:
    """Where the programs lie: ``$DENGAR_CACHE/bin``, by default ``~/.cache/dengar/bin``."""
    return Path(os.environ.get("DENGAR_CACHE") or Path.home() / ".cache" / "dengar") / "bin"


def program(name: str) -> Path:
    """The path of an installed program (``lmplz`` or ``build_binary``), from the cache or from PATH.

    Raises:
        MissingDependencyError: it is not installed; the message says how to install it.
    """
    cached = bin_folder() / name
    if os.access(cached, os.X_OK):
        return cached
    if found := shutil.which(name):
        return Path(found)
    raise MissingDependencyError(f"{name} (KenLM) is not installed; run: python -m asr.decode.lm_tools --install")


def install(*, jobs: int = 2) -> dict[str, Path]:
    """Builds what is missing of `PROGRAMS` and returns all their paths; does nothing if they are there.

    The build happens in a temporary folder and each program is renamed into place, so an interrupted run leaves
    nothing behind and two at once do no harm.

    Raises:
        MissingDependencyError: no compiler, no Boost, no network; holds the end of the failing step's output.
    """
    folder = bin_folder()
    paths = {name: folder / name for name in PROGRAMS}
    if all(os.access(path, os.X_OK) for path in paths.values()):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dengar-kenlm-") as scratch:
        source = _fetch(Path(scratch))
        build = Path(scratch) / "build"
        _run(["cmake", "-S", str(source), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"])
        _run(["cmake", "--build", str(build), "--target", *PROGRAMS, "--parallel", str(jobs)])
        for name, path in paths.items():
            partial = path.with_name(f"{name}.partial-{os.getpid()}")
            shutil.copy2(build / "bin" / name, partial)
            partial.replace(path)
    return paths


def _fetch(folder: Path) -> Path:
    """Downloads and unpacks the source distribution; returns its folder."""
    _run([
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"),
        *("--no-build-isolation", "--dest", str(folder), f"kenlm=={KENLM_VERSION}"),
    ])  # fmt: skip
    with tarfile.open(next(folder.glob("kenlm-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"kenlm-{KENLM_VERSION}"


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise MissingDependencyError(f"{command[0]} is not installed; on Debian: apt-get install {_APT}") from None
    except subprocess.CalledProcessError as error:
        tail = " | ".join((error.stderr or error.stdout).strip().splitlines()[-3:])
        raise MissingDependencyError(
            f"building KenLM's programs failed at '{' '.join(command[:3])}': {tail}; on Debian: apt-get install {_APT}"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Installs the programs or says where they are."""
    parser = argparse.ArgumentParser(prog="python -m asr.decode.lm_tools", description=__doc__.split("\n")[0])
    parser.add_argument("--install", action="store_true", help="build what is missing (about a minute and a half)")
    parser.add_argument("--jobs", type=int, default=2, help="parallel compilations")
    options = parser.parse_args(arguments)
    try:
        paths = install(jobs=options.jobs) if options.install else {name: program(name) for name in PROGRAMS}
    except DengarError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    for name, path in paths.items():
        sys.stdout.write(f"{name}\t{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
