import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.setup_torchaudio import UNUSED, imports, is_cpu_build, move_aside


@pytest.fixture
def copy_with_extension(tmp_path: Path) -> Path:
    """The package as its wheel has it, in a folder of its own that comes first on the path."""
    spec = importlib.util.find_spec("torchaudio")
    assert spec is not None
    assert spec.origin is not None
    package = tmp_path / "torchaudio"
    shutil.copytree(Path(spec.origin).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (package / "lib" / UNUSED).glob("*.so"):
        file.replace(package / "lib" / file.name)
    return package


def _import_from(folder: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import torchaudio; print(torchaudio.__file__)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not is_cpu_build(), reason="beside a CUDA build of torch the extension loads")
def test_torchaudio_imports_only_once_the_extension_is_aside(copy_with_extension: Path) -> None:
    objects = sorted(path.name for path in (copy_with_extension / "lib").glob("*.so"))
    assert objects, "the wheel carries shared objects, or this step is no longer needed"
    assert _import_from(copy_with_extension.parent).returncode != 0

    assert move_aside(copy_with_extension) == objects

    done = _import_from(copy_with_extension.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(copy_with_extension / "__init__.py")
    assert sorted(path.name for path in (copy_with_extension / "lib" / UNUSED).iterdir()) == objects


def test_a_second_run_moves_nothing(copy_with_extension: Path) -> None:
    move_aside(copy_with_extension)
    before = sorted(copy_with_extension.rglob("*.so"))
    assert move_aside(copy_with_extension) == []
    assert sorted(copy_with_extension.rglob("*.so")) == before


def test_what_does_not_import_is_told_in_a_line(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'OSError: no libcudart' >&2\nexit 1\n")
    broken.chmod(0o755)
    assert imports(str(broken)) == "OSError: no libcudart"
